package refcount

import (
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// types are all codecs of this package.
var types = denctest.Types{
	"List": func() denctest.Codec { return &List{} },
	"Read": func() denctest.Codec { return &Read{} },
	"Ref":  func() denctest.Codec { return &Ref{} },
	"Refs": func() denctest.Codec { return &Refs{} },
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestEveryTypeIsFuzzed(t *testing.T) { denctest.Complete(t, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"cls_refcount_get_op": "Ref", "cls_refcount_put_op": "Ref", "cls_refcount_read_op": "Read", "cls_refcount_read_ret": "List", "cls_refcount_set_op": "List", "obj_refcount": "Refs",
	}, nil)
}
