package semset

import (
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// types are all codecs of this package.
var types = denctest.Types{
	"Decrement": func() denctest.Codec { return &Decrement{} },
	"Increment": func() denctest.Codec { return &Increment{} },
	"List":      func() denctest.Codec { return &List{} },
	"Page":      func() denctest.Codec { return &Page{} },
	"Reset":     func() denctest.Codec { return &Reset{} },
	"Value":     func() denctest.Codec { return &Value{} },
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestEveryTypeIsFuzzed(t *testing.T) { denctest.Complete(t, types) }
