package log

import (
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// types are all codecs of this package.
var types = denctest.Types{
	"Add":        func() denctest.Codec { return &Add{} },
	"Entry":      func() denctest.Codec { return &Entry{} },
	"Header":     func() denctest.Codec { return &Header{} },
	"Info":       func() denctest.Codec { return &Info{} },
	"InfoResult": func() denctest.Codec { return &InfoResult{} },
	"List":       func() denctest.Codec { return &List{} },
	"Page":       func() denctest.Codec { return &Page{} },
	"Trim":       func() denctest.Codec { return &Trim{} },
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestEveryTypeIsFuzzed(t *testing.T) { denctest.Complete(t, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"cls_log_add_op": "Add", "cls_log_entry": "Entry", "cls_log_header": "Header", "cls_log_info_op": "Info", "cls_log_info_ret": "InfoResult", "cls_log_list_op": "List", "cls_log_list_ret": "Page", "cls_log_trim_op": "Trim",
	}, nil)
}
