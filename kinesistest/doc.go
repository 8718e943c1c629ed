// Package kinesistest is a fake Amazon Kinesis Data Streams on the real wire. It is for tests of
// programs that read or write streams with any AWS SDK. It speaks JSON 1.1 and CBOR, event streams,
// HTTP/1.1 and HTTP/2. It runs in memory or on a port. In memory it also runs inside a
// testing/synctest bubble, where five minutes pass in milliseconds. It forgets everything at the
// end. [Start] serves anyone, [New] serves a test, and command kinesisfake serves other languages.
//
//	srv := kinesistest.New(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 2}}})
//	client := kinesis.New(kinesis.Options{
//		Region: "us-east-1", BaseEndpoint: aws.String(srv.URL()), HTTPClient: srv.HTTPClient(),
//		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
//	})
//	srv.Put("orders", "key", []byte("data"))
//
// It matches no class of the Java KCL, but the service that the KCL calls. The tests of this module
// use it everywhere.
//
// It takes the time only from time.Now and timers. A server that is used inside a bubble must be
// started inside it.
//
// # Faults
//
// [Server.Inject] makes chosen calls fail, wait or get lost. It also breaks subscriptions in every
// way that a network and a service can. [Server.OnCall] decides call by call. [Server.Freeze] holds
// back the requests of a frozen process. [Server.GoAway], [Server.ResetConnections] and, in memory,
// [Server.Partition] and [Server.Kill] act on connections. [Config.Deny] takes permissions away.
// [Config.Quirks] make the server differ from AWS as other test servers do.
//
// # Behaviours
//
// The test in each row checks it. The third column names the source. API is the page of the
// operation in the Kinesis Data Streams API Reference
// (docs.aws.amazon.com/kinesis/latest/APIReference). Three sources are pages of the developer guide
// (docs.aws.amazon.com/streams/latest/dev): quotas is service-sizes-and-limits, large is
// large-records, and routing is kinesis-using-sdk-java-after-resharding. model is the service model
// from which the AWS SDKs are made. seen was observed on the service by others. inferred is our
// reading.
//
//	SubscribeToShard
//	  up to five minutes, then a clean end                              API       TestSubscribeFiveMinutes
//	  one call per second, consumer and shard: LimitExceeded            API       TestSubscribeCallRate
//	  within 5 s of a success: ResourceInUse                            API       TestSubscribeTakeOver
//	  ... also when that subscription has ended                         API       TestSubscribeHoldOutlivesStream
//	  after 5 s the call takes over, the old stream: ResourceInUse      API       TestSubscribeTakeOver
//	  a failed call does not count as a success                         API       TestSubscribeCallErrors
//	  the consumer must be ACTIVE: ResourceInUse                        API       TestSubscribeConsumerNotActive
//	  unknown shard, consumer, stream: ResourceNotFound                 API       TestSubscribeCallErrors
//	  a position of another shard, "0", no number: InvalidArgument      API       TestSubscribeCallErrors
//	  a time to come: InvalidArgument                                   seen      TestSubscribeCallErrors
//	  AT_, AFTER_SEQUENCE_NUMBER, AT_TIMESTAMP, TRIM_HORIZON, LATEST    API       TestSubscribePositions
//	  a time between two records means the later one                    API       TestSubscribePositions
//	  a time before the horizon means the horizon                       API       TestSubscribePositions
//	  initial-response at once, a flush after every frame               seen      TestSubscribeDeliversAtOnce
//	  an event as soon as there are records                             API       TestSubscribeDeliversAtOnce
//	  an empty event after 5 s without any                              seen      TestSubscribeIdleEvents
//	  the continuation moves on in empty events                         seen      TestSubscribeIdleEvents
//	  a continuation is a usable position, by AT and by AFTER           API       TestSubscribeContinuation
//	  end of a closed shard: null continuation, children, clean end     seen      TestSubscribeShardEndAfterSplit
//	  LATEST on a closed, drained shard: that one event                 seen      TestSubscribeShardEndAfterSplit
//	  the child of a merge names both parents, to readers of both       seen      TestSubscribeShardEndAfterMerge
//	  no ChildShards in other events                                    seen      TestSubscribeDeliversAtOnce
//	  MillisBehindLatest is the age of what is not yet sent             API       TestSubscribeMillisBehindLatest
//	  2 MiB per second, shard and consumer                              API       TestSubscribeThroughput
//	  a record of 10 MiB is one event                                   large     TestSubscribeLargeRecord
//	  consumer or stream deleted: ResourceNotFound in the stream        model     TestSubscribeEndsWithItsResources
//	  a client that has gone frees its subscription                     inferred  TestSubscribeClientGone
//	  DryRun: DryRunOperation                                           model     TestSubscribeDryRun
//	Consumers
//	  CREATING, ACTIVE, DELETING                                        API       TestConsumerLife
//	  the ARN ends with the creation time; a new one is another         API       TestConsumerLife
//	  the same name again: ResourceInUse                                API       TestConsumerLife
//	  by ARN, or by stream and name, or by both                         API       TestConsumerLife
//	  five a second, five CREATING, twenty in all                       API       TestConsumerLimits
//	  names of 1 to 128 letters, digits, dots, hyphens, underscores     API       TestConsumerRefused
//	  tags from the start, which need kinesis:TagResource as well       API       TestConsumerTags
//	  pages of 100, tokens for 300 s                                    API       TestListStreamConsumers
//	  StreamCreationTimestamp tells streams apart                       API       TestListStreamConsumers
//	Shards
//	  each filter of ListShards                                         API       TestListShardsFilters
//	  expired shards are not listed                                     API       TestRetention
//	  pages of 1000 at most, whatever MaxResults says                   API       TestListShardsPageSizes
//	  NextToken keeps the filter, excludes the name                     API       TestListShardsPaging
//	  NextToken for 300 s, then ExpiredNextToken                        API       TestListShardsPaging
//	  StreamCreationTimestamp tells streams apart                       API       TestListShardsStreamCreationTimestamp
//	  ListShards: 1000 a second and stream                              API       TestListShardsRate
//	  DescribeStream: pages of 100                                      API       TestListShardsPageSizes
//	  SplitShard: the key must lie inside the range                     API       TestSplitShard
//	  SplitShard: UPDATING, parent open until the children are          routing   TestSplitShard
//	  a child's numbers are later than its parents'                     routing   TestSplitShard TestMergeShards
//	  a closed shard has an ending number                               API       TestSplitShard
//	  MergeShards: neighbours only, in either order                     API       TestMergeShards
//	  MergeShards: ParentShardId and AdjacentParentShardId              API       TestMergeShards
//	  a closed shard cannot be split or merged: InvalidArgument         seen      TestSplitShard TestMergeShards
//	  UpdateShardCount: equal shards, short-lived ones on the way       API       TestUpdateShardCount
//	  UpdateShardCount: from half to double, ten a day                  API       TestUpdateShardCountRefused
//	  the account's shard limit: LimitExceeded                          API       TestShardLimit
//	  resharding is for provisioned streams                             API       TestReshardNeedsProvisionedMode
//	Reading
//	  each type of iterator                                             API       TestIteratorTypes
//	  LATEST is pinned when the iterator is made                        API       TestIteratorTypes
//	  an iterator for five minutes, then ExpiredIterator                API       TestIteratorExpires
//	  an iterator in quotes is accepted                                 seen      TestIteratorQuotedAndGarbled
//	  a number of another shard: InvalidArgument                        API       TestIteratorRefused
//	  GetShardIterator and GetRecords: five a second and shard          API       TestIteratorAndGetRecordsRates
//	  10,000 records; a larger Limit: InvalidArgument                   API       TestGetRecordsLimit
//	  10 MiB, then throttled: 2 MiB a second and shard                  API       TestGetRecordsTenMiB
//	  MillisBehindLatest                                                API       TestGetRecordsMillisBehindLatest
//	  end of a closed shard: no next iterator, ChildShards              API       TestGetRecordsShardEnd
//	  the iterator of a stream that was deleted: ResourceNotFound       API       TestGetRecordsOfAnotherStream
//	  positions before the horizon mean the horizon                     API       TestTrim
//	  records and closed shards go when the retention period ends       routing   TestRetention
//	Writing
//	  MD5 of the key, or ExplicitHashKey, picks the shard               API       TestPutPartition
//	  keys of 1 to 256 characters; hash keys below 2^128                API       TestPutRefused
//	  1 MiB with the key, or what UpdateMaxRecordSize says              API       TestPutRefused TestUpdateMaxRecordSize
//	  PutRecords: 500 records, 10 MiB                                   API       TestPutRecordsRefused
//	  PutRecords: throttled record by record                            API       TestPutThroughput
//	  1000 records and 1 MiB a second and shard                         API       TestPutThroughput
//	  bursts of a large record                                          large     TestPutLargeRecords
//	  SequenceNumberForOrdering "0" is accepted                         seen      TestPutRefused
//	  AUTO distribution: the partition key decides nothing, may be absent API       TestPutAutoDistribution
//	Streams
//	  CREATING, ACTIVE, UPDATING, DELETING                              API       TestStreamLife TestSplitShard
//	  a stream CREATING or DELETING has no data                         API       TestStreamLife
//	  names, shards, modes, record sizes of CreateStream                API       TestCreateStreamRefused
//	  five a second, five CREATING                                      API       TestCreateStreamLimits
//	  with consumers, only EnforceConsumerDeletion deletes              API       TestDeleteStreamWithConsumers
//	  ListStreams: pages of 100                                         API       TestListStreams
//	  a second's calls of the Describe and List operations              quotas    TestCallRates
//	  retention of 24 to 8760 hours, up and down                        API       TestRetentionPeriod
//	  record sizes of 1 to 10 MiB                                       large     TestUpdateMaxRecordSize
//	  records say that they are encrypted                               API       TestEncryption
//	  AUTO is for on-demand streams, changes at once                    API       TestStreamModeAndDistribution
//	  fifty tags                                                        API       TestTags
//	  by name, ARN or both, which must agree                            API       TestPutRefused
//	  policies of streams and consumers, kept but not enforced          API       TestResourcePolicies
//	  no policy: ResourceNotFound                                       inferred  TestResourcePolicies
//	  shard metrics, one by one or ALL                                  API       TestEnhancedMonitoring
//	  a commitment of the account lasts 24 hours at least               API       TestAccountSettings
//	  warm throughput needs on-demand mode and that commitment          API       TestWarmThroughput
//	Wire
//	  errors with __type and message, HTTP 400                          seen      TestHandlerErrors
//	  UnknownOperation, Serialization, Validation                       seen      TestHandlerErrors
//	  CBOR: bytes, tagged integer milliseconds                          seen      TestHandlerCBOR
//	  Date follows the server's clock                                   inferred  TestHandlerDate
//	  AccessDenied names the action and the resource                    seen      TestHandlerDeny
//
// The fake has no signatures (it accepts any credentials), no other accounts, no channels, no
// metrics and no KMS. It does not scale on-demand streams by itself. It keeps policies and does not
// enforce them. If AWS does not publish the text of an error, the text is ours.
package kinesistest
