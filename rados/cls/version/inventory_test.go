package version

import (
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// types are all codecs of this package.
var types = denctest.Types{
	"Cond":    func() denctest.Codec { return &Cond{} },
	"Conds":   func() denctest.Codec { return &Conds{} },
	"Read":    func() denctest.Codec { return &Read{} },
	"Set":     func() denctest.Codec { return &Set{} },
	"Version": func() denctest.Codec { return &Version{} },
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestEveryTypeIsFuzzed(t *testing.T) { denctest.Complete(t, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"cls_version_check_op": "Conds", "cls_version_inc_op": "Conds", "cls_version_read_ret": "Read", "cls_version_set_op": "Set", "obj_version": "Version", "obj_version_cond": "Cond",
	}, nil)
}
