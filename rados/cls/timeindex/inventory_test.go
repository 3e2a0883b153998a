package timeindex

import (
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// types are all codecs of this package.
var types = denctest.Types{
	"Add":   func() denctest.Codec { return &Add{} },
	"Entry": func() denctest.Codec { return &Entry{} },
	"List":  func() denctest.Codec { return &List{} },
	"Page":  func() denctest.Codec { return &Page{} },
	"Trim":  func() denctest.Codec { return &Trim{} },
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestEveryTypeIsFuzzed(t *testing.T) { denctest.Complete(t, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"cls_timeindex_add_op": "Add", "cls_timeindex_entry": "Entry", "cls_timeindex_list_op": "List", "cls_timeindex_list_ret": "Page", "cls_timeindex_trim_op": "Trim",
	}, nil)
}
