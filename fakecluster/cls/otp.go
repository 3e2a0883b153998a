package cls

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/cls/otp"
	"github.com/rbdm/rbdm/rados/errno"
)

func otpMethods() map[string]method {
	return map[string]method{
		otp.MethodSet:    write(taking(otpSet)),
		otp.MethodGet:    read(taking(otpGet)),
		otp.MethodCheck:  write(taking(otpCheck)),
		otp.MethodResult: read(taking(otpResult)),
		otp.MethodRemove: write(taking(otpRemove)),
		otp.MethodTime: read(taking(func(o Object, _ otp.GetTime) ([]byte, error) {
			return otp.Time{Time: now(o)}.Append(nil), nil
		})),
	}
}

// otpHeader returns the set of ids.
func otpHeader(o Object) ([]string, error) {
	p, ok := o.Omap(otp.KeyHeader)
	if !ok || len(p) == 0 {
		return nil, nil
	}
	h, err := parse[otp.Remove](p)
	return sorted(h.IDs), err
}

func otpInstance(o Object, id string) (otp.Instance, error) {
	return value(o, otp.KeyPrefix+id, one[otp.Instance])
}

// parseSeed returns a seed's bytes, up to a NUL as C's strings end.
func parseSeed(i otp.Info) ([]byte, error) {
	var p []byte
	var err error
	if i.SeedType == otp.SeedBase32 {
		s := strings.TrimRight(strings.ToUpper(strings.ReplaceAll(i.Seed, " ", "")), "=")
		if !slices.Contains([]int{0, 2, 4, 5, 7}, len(s)%8) {
			return nil, errno.ErrInvalid
		}
		p, err = base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(s)
	} else {
		s, _, _ := strings.Cut(i.Seed, "\x00")
		p, err = hex.DecodeString(s)
	}
	if err != nil {
		return nil, errno.ErrInvalid
	}
	return p, nil
}

func otpSet(o Object, op otp.Set) ([]byte, error) {
	ids, err := otpHeader(o)
	if err != nil {
		return nil, err
	}
	for _, info := range op.Entries {
		i, err := otpInstance(o, info.ID)
		if err != nil && !missing(err) {
			return nil, err
		}
		if info.Bin, err = parseSeed(info); err != nil {
			return nil, err
		}
		i.Info = info
		o.SetOmap(otp.KeyPrefix+info.ID, i.Append(nil))
		ids = append(ids, info.ID)
	}
	o.SetOmap(otp.KeyHeader, otp.Remove{IDs: sorted(ids)}.Append(nil))
	return nil, nil
}

func otpRemove(o Object, op otp.Remove) ([]byte, error) {
	ids, err := otpHeader(o)
	if err != nil {
		return nil, err
	}
	removed := false
	for _, id := range op.IDs {
		at, ok := slices.BinarySearch(ids, id)
		if !ok {
			continue
		}
		if err := removeKey(o, otp.KeyPrefix+id); err != nil {
			return nil, err
		}
		ids = slices.Delete(ids, at, at+1)
		removed = true
	}
	if removed {
		o.SetOmap(otp.KeyHeader, otp.Remove{IDs: ids}.Append(nil))
	}
	return nil, nil
}

func otpGet(o Object, op otp.Get) ([]byte, error) {
	ids, err := otpHeader(o)
	if err != nil {
		return nil, err
	}
	if op.All {
		op.IDs = ids
	}
	var found otp.Set
	for _, id := range op.IDs {
		if !slices.Contains(ids, id) {
			continue
		}
		i, err := otpInstance(o, id)
		if err != nil {
			return nil, err
		}
		found.Entries = append(found.Entries, i.Info)
	}
	return found.Append(nil), nil
}

// recent are the tries within one step before t.
func recent(i otp.Instance, t denc.Time) []otp.Check {
	checks := i.Checks
	for len(checks) > 0 && compareTimes(addTimes(realTime(checks[0].Time), denc.Time{Sec: i.Info.Step}), t) < 0 {
		checks = checks[1:]
	}
	return checks
}

func otpCheck(o Object, op otp.Try) ([]byte, error) {
	i, err := otpInstance(o, op.ID)
	if err != nil {
		return nil, err
	}
	t := now(o)
	if i.Checks = recent(i, t); len(i.Checks) >= otp.MaxTries {
		return nil, nil // too many: nothing is kept
	}
	result := uint8(otp.CheckFail)
	if step, ok := verify(i.Info, t.Sec, op.Value); ok && step > i.Last {
		i.Last, result = step, otp.CheckSuccess
	}
	i.Checks = append(slices.Clip(i.Checks), otp.Check{Token: op.Token, Time: t, Result: result})
	o.SetOmap(otp.KeyPrefix+i.Info.ID, i.Append(nil))
	return nil, nil
}

// maxWindow bounds how many steps before and after are tried.
const maxWindow = 1 << 16

// verify returns the step whose password value is, by RFC 6238 with SHA-1.
func verify(i otp.Info, sec uint32, value string) (step uint64, ok bool) {
	value, _, _ = strings.Cut(value, "\x00")
	if i.Step == 0 || len(value) < 6 || len(value) > 8 {
		return 0, false
	}
	at := (int64(sec) - int64(i.Offset)) / int64(i.Step)
	for d := range int64(min(i.Window, maxWindow)) + 1 {
		for _, try := range []int64{at + d, at - d} {
			if password(i.Bin, uint64(try), len(value)) == value {
				return uint64(d) + uint64((sec-uint32(i.Offset))/i.Step), true
			}
		}
	}
	return 0, false
}

func password(seed []byte, step uint64, digits int) string {
	h := hmac.New(sha1.New, seed)
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, step))
	sum := h.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:]) & 0x7fffffff
	mod := uint32(1)
	for range digits {
		mod *= 10
	}
	return fmt.Sprintf("%0*d", digits, n%mod)
}

func otpResult(o Object, op otp.Try) ([]byte, error) {
	i, err := otpInstance(o, op.ID)
	if err != nil {
		return nil, err
	}
	t := now(o)
	for _, c := range slices.Backward(recent(i, t)) {
		if c.Token == op.Token {
			return otp.Result{Check: c}.Append(nil), nil
		}
	}
	return otp.Result{Check: otp.Check{Token: op.Token, Time: t}}.Append(nil), nil
}
