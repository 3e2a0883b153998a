package wire

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Types of the messages that carry the monitors' central configuration.
const (
	TypeKVData    uint16 = 54
	TypeConfig    uint16 = 62
	TypeGetConfig uint16 = 63
)

// Config is MConfig: every option that the monitors set for this entity. Each
// one replaces the one before.
type Config struct {
	Options map[string]string
}

// Header implements Front.
func (*Config) Header() Header { return Header{TypeConfig, 1, 1} }

// Append implements Front.
func (m *Config) Append(b []byte) []byte { return appendStringMap(b, m.Options) }

// Decode implements Front.
func (m *Config) Decode(r *denc.Reader) { m.Options = readStringMap(r) }

// GetConfig is MGetConfig: asks for a Config as a given entity would see it.
type GetConfig struct {
	Name        entity.AuthName
	Host        string
	DeviceClass string
}

// Header implements Front.
func (*GetConfig) Header() Header { return Header{TypeGetConfig, 1, 1} }

// Append implements Front.
func (m *GetConfig) Append(b []byte) []byte {
	return denc.AppendString(denc.AppendString(m.Name.Append(b), m.Host), m.DeviceClass)
}

// Decode implements Front.
func (m *GetConfig) Decode(r *denc.Reader) {
	m.Name.Decode(r)
	m.Host = r.String()
	m.DeviceClass = r.String()
}

// KVData is MKVData: config-keys under a prefix, the answer to a subscription
// of "kv:" and the prefix. Release 17 and later.
type KVData struct {
	Version     uint64
	Prefix      string
	Incremental bool
	// Data holds the values; nil is a key that was removed.
	Data map[string][]byte
}

// Header implements Front.
func (*KVData) Header() Header { return Header{TypeKVData, 1, 1} }

// Append implements Front.
func (m *KVData) Append(b []byte) []byte {
	b = denc.AppendString(denc.AppendU64(b, m.Version), m.Prefix)
	b = denc.AppendBool(b, m.Incremental)
	return denc.AppendMap(b, m.Data, denc.AppendString, func(b, v []byte) []byte {
		if v == nil {
			return denc.AppendBool(b, false)
		}
		return denc.AppendBytes(denc.AppendBool(b, true), v)
	})
}

// Decode implements Front. Values alias the reader's bytes.
func (m *KVData) Decode(r *denc.Reader) {
	m.Version = r.U64()
	m.Prefix = r.String()
	m.Incremental = r.Bool()
	m.Data = denc.Map(r, 5, readString, func(r *denc.Reader) []byte {
		if !r.Bool() {
			return nil
		}
		if v := r.Bytes(); v != nil {
			return v
		}
		return []byte{}
	})
}
