package cas

import (
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// types are all codecs of this package.
var types = denctest.Types{
	"CreateOrGet": func() denctest.Codec { return &CreateOrGet{} },
	"Ref":         func() denctest.Codec { return &Ref{} },
	"Refs":        func() denctest.Codec { return &Refs{} },
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestEveryTypeIsFuzzed(t *testing.T) { denctest.Complete(t, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"chunk_refs_t": "Refs", "cls_cas_chunk_create_or_get_ref_op": "CreateOrGet", "cls_cas_chunk_get_ref_op": "Ref", "cls_cas_chunk_put_ref_op": "Ref",
	}, nil)
}
