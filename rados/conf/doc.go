// Package conf is Ceph's configuration as a client sees it: ceph.conf with its
// own syntax and search order, the options that every Ceph command takes, the
// environment, the monitors' central configuration, and where keys and monitors
// are found. It follows releases 16.2 to 20.2 (src/common/ConfUtils.cc,
// config.cc, options.cc; doc/rados/configuration/ceph-conf.rst).
//
// A value may be set in several places; the strongest wins:
//
//	default < monitors < file < environment < command line < override
//
// In a file, the section of the entity itself ([client.admin]) wins over that
// of its kind ([client]) and that over [global]. Option names may be written
// with spaces, underscores or dashes.
//
// Files: parse.go syntax of files, value.go of values, options.go the options
// known here, config.go the layers, args.go command line, load.go search
// orders, keys.go where the key is, monhost.go where the monitors are.
package conf
