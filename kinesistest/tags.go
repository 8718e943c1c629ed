package kinesistest

import (
	"time"
	"unicode/utf8"
)

// AddTagsToStream, RemoveTagsFromStream, ListTagsForStream, TagResource, UntagResource,
// ListTagsForResource.
//
// A stream or consumer has at most 50 tags. Keys have 1 to 128 characters, values up to 256. The
// first three operations name a stream, the others the ARN of a stream or a consumer.
// ListTagsForStream pages in order of key, ten at a time by default.

var tagOperations = []operation{
	define("AddTagsToStream", addTagsToStream),
	define("RemoveTagsFromStream", removeTagsFromStream),
	define("ListTagsForStream", listTagsForStream),
	define("TagResource", tagResource),
	define("UntagResource", untagResource),
	define("ListTagsForResource", listTagsForResource),
}

type tag struct {
	Key   string `json:"Key"`
	Value string `json:"Value"`
}

// checkTags tells whether tags may be added to the existing ones.
func checkTags(tags, existing map[string]string) error {
	total := len(existing)
	for k, v := range tags {
		if n := utf8.RuneCountInString(k); n < 1 || n > 128 {
			return constraint(k, "tags", "Map keys must have length between 1 and 128")
		}
		if utf8.RuneCountInString(v) > 256 {
			return constraint(v, "tags", "Map values must have length less than or equal to 256")
		}
		if _, ok := existing[k]; !ok {
			total++
		}
	}
	if total > maxTags {
		return invalid("Failed to add tags: the resource cannot have more than %d tags.", maxTags)
	}
	return nil
}

func addTags(to, tags map[string]string) error {
	if len(tags) == 0 {
		return missing("tags")
	}
	if err := checkTags(tags, to); err != nil {
		return err
	}
	for k, v := range tags {
		to[k] = v
	}
	return nil
}

func removeTags(from map[string]string, keys []string) error {
	if len(keys) == 0 {
		return missing("tagKeys")
	}
	for _, k := range keys {
		delete(from, k)
	}
	return nil
}

type addTagsInput struct {
	streamRef
	Tags map[string]string `json:"Tags"`
}

func addTagsToStream(b *backend, _ time.Time, in *addTagsInput) (any, error) {
	st, err := b.findUsableLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	return nil, addTags(st.tags, in.Tags)
}

type removeTagsInput struct {
	streamRef
	TagKeys []string `json:"TagKeys"`
}

func removeTagsFromStream(b *backend, _ time.Time, in *removeTagsInput) (any, error) {
	st, err := b.findUsableLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	return nil, removeTags(st.tags, in.TagKeys)
}

type listTagsInput struct {
	streamRef
	ExclusiveStartTagKey string `json:"ExclusiveStartTagKey"`
	Limit                *int32 `json:"Limit"`
}

func listTagsForStream(b *backend, _ time.Time, in *listTagsInput) (any, error) {
	limit, err := b.page(in.Limit, "limit", 10, maxTags, maxTags)
	if err != nil {
		return nil, err
	}
	st, err := b.findUsableLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	out := struct {
		Tags        []tag
		HasMoreTags bool
	}{Tags: []tag{}}
	for _, k := range sortedKeys(st.tags) {
		if k <= in.ExclusiveStartTagKey {
			continue
		}
		if len(out.Tags) == limit {
			out.HasMoreTags = true
			break
		}
		out.Tags = append(out.Tags, tag{Key: k, Value: st.tags[k]})
	}
	return out, nil
}

type resourceInput struct {
	ResourceARN string `json:"ResourceARN"`
}

func (in *resourceInput) resource() resource {
	p, ok := parseARN(in.ResourceARN)
	switch {
	case !ok:
		return resource{}
	case p.consumer != "":
		return resource{consumerARN: in.ResourceARN}
	}
	return resource{stream: p.stream, streamARN: in.ResourceARN}
}

// resourceLocked finds the consumer or the stream that has the ARN.
func (a *account) resourceLocked(in resourceInput) (*consumer, *stream, error) {
	if in.ResourceARN == "" {
		return nil, nil, missing("resourceARN")
	}
	if p, ok := parseARN(in.ResourceARN); ok && p.consumer != "" {
		c, err := a.findConsumerLocked(consumerRef{ConsumerARN: in.ResourceARN})
		return c, nil, err
	}
	st, err := a.findUsableLocked(streamRef{StreamARN: in.ResourceARN})
	return nil, st, err
}

// tagsLocked finds the tags of the stream or consumer that has the ARN.
func (a *account) tagsLocked(in resourceInput) (map[string]string, error) {
	c, st, err := a.resourceLocked(in)
	switch {
	case err != nil:
		return nil, err
	case c != nil:
		return c.tags, nil
	}
	return st.tags, nil
}

type tagResourceInput struct {
	resourceInput
	Tags map[string]string `json:"Tags"`
}

func tagResource(b *backend, _ time.Time, in *tagResourceInput) (any, error) {
	tags, err := b.tagsLocked(in.resourceInput)
	if err != nil {
		return nil, err
	}
	return nil, addTags(tags, in.Tags)
}

type untagResourceInput struct {
	resourceInput
	TagKeys []string `json:"TagKeys"`
}

func untagResource(b *backend, _ time.Time, in *untagResourceInput) (any, error) {
	tags, err := b.tagsLocked(in.resourceInput)
	if err != nil {
		return nil, err
	}
	return nil, removeTags(tags, in.TagKeys)
}

type listTagsForResourceInput struct{ resourceInput }

func listTagsForResource(b *backend, _ time.Time, in *listTagsForResourceInput) (any, error) {
	tags, err := b.tagsLocked(in.resourceInput)
	if err != nil {
		return nil, err
	}
	list := []tag{}
	for _, k := range sortedKeys(tags) {
		list = append(list, tag{Key: k, Value: tags[k]})
	}
	return struct{ Tags []tag }{list}, nil
}
