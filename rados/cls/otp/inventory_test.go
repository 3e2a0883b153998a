package otp

import (
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// types are all codecs of this package.
var types = denctest.Types{
	"Check":    func() denctest.Codec { return &Check{} },
	"Get":      func() denctest.Codec { return &Get{} },
	"GetTime":  func() denctest.Codec { return &GetTime{} },
	"Info":     func() denctest.Codec { return &Info{} },
	"Instance": func() denctest.Codec { return &Instance{} },
	"Remove":   func() denctest.Codec { return &Remove{} },
	"Result":   func() denctest.Codec { return &Result{} },
	"Set":      func() denctest.Codec { return &Set{} },
	"Time":     func() denctest.Codec { return &Time{} },
	"Try":      func() denctest.Codec { return &Try{} },
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestEveryTypeIsFuzzed(t *testing.T) { denctest.Complete(t, types) }
