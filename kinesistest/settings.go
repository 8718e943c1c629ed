package kinesistest

import (
	"strconv"
	"time"
)

// IncreaseStreamRetentionPeriod, DecreaseStreamRetentionPeriod, UpdateMaxRecordSize,
// UpdateStreamMode, UpdateStreamRecordDistributionStrategy, StartStreamEncryption,
// StopStreamEncryption.
//
// The stream must be ACTIVE (ResourceInUseException). The distribution strategy changes at once;
// all others make the stream UPDATING for Config.StateDelay. Retention is between 24 and 8760
// hours. An increase must not lower it and a decrease must not raise it. A decrease makes older
// records unreadable at once. The record size is between 1024 and 10240 KiB. AUTO distribution is
// for on-demand streams. Records that are written while encryption is on have an EncryptionType.

var settingOperations = []operation{
	define("IncreaseStreamRetentionPeriod", increaseRetention),
	define("DecreaseStreamRetentionPeriod", decreaseRetention),
	define("UpdateMaxRecordSize", updateMaxRecordSize),
	define("UpdateStreamMode", updateStreamMode),
	define("UpdateStreamRecordDistributionStrategy", updateDistribution),
	define("StartStreamEncryption", startEncryption),
	define("StopStreamEncryption", stopEncryption),
}

type retentionInput struct {
	streamRef
	RetentionPeriodHours *int32 `json:"RetentionPeriodHours"`
}

func increaseRetention(b *backend, now time.Time, in *retentionInput) (any, error) {
	st, hours, err := b.checkRetentionLocked(in)
	if err != nil {
		return nil, err
	}
	if hours < st.retention {
		return nil, invalid("Requested retention period (%d hours) for stream %s can not be shorter than existing "+
			"retention period (%d hours). Use DecreaseRetentionPeriod API.",
			int(hours.Hours()), st.name, int(st.retention.Hours()))
	}
	b.updateLocked(st, func(time.Time) { st.retention = hours })
	return nil, nil
}

func decreaseRetention(b *backend, now time.Time, in *retentionInput) (any, error) {
	st, hours, err := b.checkRetentionLocked(in)
	if err != nil {
		return nil, err
	}
	if hours > st.retention {
		return nil, invalid("Requested retention period (%d hours) for stream %s can not be longer than existing "+
			"retention period (%d hours). Use IncreaseRetentionPeriod API.",
			int(hours.Hours()), st.name, int(st.retention.Hours()))
	}
	b.updateLocked(st, func(now time.Time) {
		st.retention = hours
		st.expireLocked(now)
	})
	return nil, nil
}

func (a *account) checkRetentionLocked(in *retentionInput) (*stream, time.Duration, error) {
	switch {
	case in.RetentionPeriodHours == nil:
		return nil, 0, missing("retentionPeriodHours")
	case *in.RetentionPeriodHours < minRetentionHours:
		return nil, 0, invalid(
			"Minimum allowed retention period is %d hours. Requested retention period (%d hours) is too short.",
			minRetentionHours, *in.RetentionPeriodHours)
	case *in.RetentionPeriodHours > maxRetentionHours:
		return nil, 0, invalid(
			"Maximum allowed retention period is %d hours. Requested retention period (%d hours) is too long.",
			maxRetentionHours, *in.RetentionPeriodHours)
	}
	st, err := a.findActiveLocked(in.streamRef)
	return st, time.Duration(*in.RetentionPeriodHours) * time.Hour, err
}

type updateMaxRecordSizeInput struct {
	streamRef
	MaxRecordSizeInKiB *int32 `json:"MaxRecordSizeInKiB"`
}

func updateMaxRecordSize(b *backend, now time.Time, in *updateMaxRecordSizeInput) (any, error) {
	if in.MaxRecordSizeInKiB == nil {
		return nil, missing("maxRecordSizeInKiB")
	}
	if err := checkRecordSize(*in.MaxRecordSizeInKiB); err != nil {
		return nil, err
	}
	st, err := b.findActiveLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	b.updateLocked(st, func(time.Time) { st.maxRecordKiB = int(*in.MaxRecordSizeInKiB) })
	return nil, nil
}

func checkRecordSize(kib int32) error {
	switch {
	case kib < minRecordKiB:
		return constraint(kib, "maxRecordSizeInKiB",
			"Member must have value greater than or equal to "+strconv.Itoa(minRecordKiB))
	case kib > maxRecordKiB:
		return constraint(kib, "maxRecordSizeInKiB",
			"Member must have value less than or equal to "+strconv.Itoa(maxRecordKiB))
	}
	return nil
}

type updateStreamModeInput struct {
	streamRef
	StreamModeDetails *streamModeDetails `json:"StreamModeDetails"`
}

func updateStreamMode(b *backend, now time.Time, in *updateStreamModeInput) (any, error) {
	if in.StreamModeDetails == nil {
		return nil, missing("streamModeDetails")
	}
	mode := in.StreamModeDetails.StreamMode
	if mode != modeProvisioned && mode != modeOnDemand {
		return nil, constraint(mode, "streamModeDetails.streamMode",
			"Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]")
	}
	st, err := b.findActiveLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	if mode == modeProvisioned && st.distribution == distributionAuto {
		return nil, invalid("Stream %s uses the AUTO record distribution strategy, which is for streams in ON_DEMAND mode.",
			st.name)
	}
	b.updateLocked(st, func(time.Time) { st.mode = mode })
	return nil, nil
}

type updateDistributionInput struct {
	streamRef
	RecordDistributionStrategy string `json:"RecordDistributionStrategy"`
}

func updateDistribution(b *backend, now time.Time, in *updateDistributionInput) (any, error) {
	st, err := b.findActiveLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	if err := checkDistribution(in.RecordDistributionStrategy, st.mode, true); err != nil {
		return nil, err
	}
	st.distribution = in.RecordDistributionStrategy
	return nil, nil
}

func checkDistribution(strategy, mode string, required bool) error {
	switch {
	case strategy == "" && required:
		return missing("recordDistributionStrategy")
	case strategy == "" || strategy == distributionUser:
		return nil
	case strategy != distributionAuto:
		return constraint(strategy, "recordDistributionStrategy", "Member must satisfy enum value set: [AUTO, "+
			"USER_PARTITION_KEY]")
	case mode != modeOnDemand:
		return invalid("The AUTO record distribution strategy is only supported for streams in ON_DEMAND mode.")
	}
	return nil
}

type encryptionInput struct {
	streamRef
	EncryptionType string `json:"EncryptionType"`
	KeyID          string `json:"KeyId"`
}

func (in *encryptionInput) check() error {
	switch {
	case in.EncryptionType == "":
		return missing("encryptionType")
	case in.KeyID == "":
		return missing("keyId")
	case in.EncryptionType != encryptionKMS:
		return invalid("EncryptionType %s is not supported by this operation.", in.EncryptionType)
	}
	return nil
}

func startEncryption(b *backend, now time.Time, in *encryptionInput) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	st, err := b.findActiveLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	b.updateLocked(st, func(time.Time) { st.encryption, st.keyID = encryptionKMS, in.KeyID })
	return nil, nil
}

func stopEncryption(b *backend, now time.Time, in *encryptionInput) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	st, err := b.findActiveLocked(in.streamRef)
	if err != nil {
		return nil, err
	}
	b.updateLocked(st, func(time.Time) { st.encryption, st.keyID = encryptionNone, "" })
	return nil, nil
}
