// Package crush holds Ceph's CRUSH map and the function that maps an input to
// devices by it (src/crush): hashes, the five bucket algorithms, rules,
// tunables, device classes and choose_args, with the encoding of releases 16.2
// to 20.2. All of it is pure: a Map is immutable once it is in use, and Do
// keeps no state between calls.
//
// Multi-step-retry rules (20.2, the feature CRUSH_MSR) are run as well.
//
//	hash.go     the integer hash            ln.go, ln_table.go  straw2's logarithm
//	bucket.go   choosing one item           mapper.go, msr.go   rules
//	map.go      types                       codec.go            encoding
//	build.go    simple maps
package crush

//go:generate go run gen_ln.go
