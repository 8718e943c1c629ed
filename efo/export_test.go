package efo

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Derived is the client inside of what NewHTTPClient returned.
func Derived(c aws.HTTPClient) *http.Client { return c.(*transport).base }

// TransportOf is the transport below the pool of a derived client.
func TransportOf(c *http.Client) *http.Transport { return c.Transport.(*pool).tr }
