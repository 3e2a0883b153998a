package user

import "github.com/rbdm/rbdm/msgr2/denc"

// Resource is what belongs to an account: a user, role or group
// (cls_user_account_resource).
type Resource struct {
	Name, Path string
	Metadata   []byte
}

// Append appends s.
func (s Resource) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendBytes(denc.AppendString(denc.AppendString(b, s.Name), s.Path), s.Metadata), at)
}

// Decode reads s.
func (s *Resource) Decode(r *denc.Reader) {
	e := r.Enter("cls_user_account_resource", 1)
	s.Name, s.Path, s.Metadata = r.String(), r.String(), r.Bytes()
	r.Leave(e)
}

// AccountHeader is the omap header of an account's resources
// (cls_user_account_header).
type AccountHeader struct{ Count uint32 }

// Append appends h.
func (h AccountHeader) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU32(b, h.Count), at)
}

// Decode reads h.
func (h *AccountHeader) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_account_header", 1)
	h.Count = r.U32()
	r.Leave(s)
}

// AccountAdd is the argument of account_resource_add
// (cls_user_account_resource_add_op).
type AccountAdd struct {
	Resource  Resource
	Exclusive bool
	Limit     uint32
}

// Append appends a.
func (a AccountAdd) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU32(denc.AppendBool(a.Resource.Append(b), a.Exclusive), a.Limit), at)
}

// Decode reads a.
func (a *AccountAdd) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_account_resource_add_op", 1)
	a.Resource.Decode(r)
	a.Exclusive, a.Limit = r.Bool(), r.U32()
	r.Leave(s)
}

// AccountName is the argument of account_resource_get and account_resource_rm
// (cls_user_account_resource_get_op, cls_user_account_resource_rm_op).
type AccountName struct{ Name string }

// Append appends n.
func (n AccountName) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendString(b, n.Name), at)
}

// Decode reads n.
func (n *AccountName) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_account_resource_get_op", 1)
	n.Name = r.String()
	r.Leave(s)
}

// AccountGet is the result of account_resource_get
// (cls_user_account_resource_get_ret).
type AccountGet struct{ Resource Resource }

// Append appends g.
func (g AccountGet) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(g.Resource.Append(b), at)
}

// Decode reads g.
func (g *AccountGet) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_account_resource_get_ret", 1)
	g.Resource.Decode(r)
	r.Leave(s)
}

// AccountList is the argument of account_resource_list
// (cls_user_account_resource_list_op).
type AccountList struct {
	Marker, PathPrefix string
	Max                uint32
}

// Append appends l.
func (l AccountList) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU32(denc.AppendString(denc.AppendString(b, l.Marker), l.PathPrefix), l.Max), at)
}

// Decode reads l.
func (l *AccountList) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_account_resource_list_op", 1)
	l.Marker, l.PathPrefix, l.Max = r.String(), r.String(), r.U32()
	r.Leave(s)
}

// AccountPage is the result of account_resource_list
// (cls_user_account_resource_list_ret).
type AccountPage struct {
	Resources []Resource
	Truncated bool
	Marker    string
}

// Append appends p.
func (p AccountPage) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendSlice(b, p.Resources, func(b []byte, s Resource) []byte { return s.Append(b) })
	return denc.End(denc.AppendString(denc.AppendBool(b, p.Truncated), p.Marker), at)
}

// Decode reads p.
func (p *AccountPage) Decode(r *denc.Reader) {
	s := r.Enter("cls_user_account_resource_list_ret", 1)
	p.Resources = denc.Slice(r, minResource, func(r *denc.Reader) (s Resource) { s.Decode(r); return s })
	p.Truncated, p.Marker = r.Bool(), r.String()
	r.Leave(s)
}
