package user

import (
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// types are all codecs of this package.
var types = denctest.Types{
	"AccountAdd":    func() denctest.Codec { return &AccountAdd{} },
	"AccountGet":    func() denctest.Codec { return &AccountGet{} },
	"AccountHeader": func() denctest.Codec { return &AccountHeader{} },
	"AccountList":   func() denctest.Codec { return &AccountList{} },
	"AccountName":   func() denctest.Codec { return &AccountName{} },
	"AccountPage":   func() denctest.Codec { return &AccountPage{} },
	"At":            func() denctest.Codec { return &At{} },
	"Bucket":        func() denctest.Codec { return &Bucket{} },
	"Buckets":       func() denctest.Codec { return &Buckets{} },
	"Entry":         func() denctest.Codec { return &Entry{} },
	"GetHeader":     func() denctest.Codec { return &GetHeader{} },
	"Header":        func() denctest.Codec { return &Header{} },
	"HeaderResult":  func() denctest.Codec { return &HeaderResult{} },
	"ListBuckets":   func() denctest.Codec { return &ListBuckets{} },
	"RemoveBucket":  func() denctest.Codec { return &RemoveBucket{} },
	"Reset":         func() denctest.Codec { return &Reset{} },
	"ResetResult":   func() denctest.Codec { return &ResetResult{} },
	"Resource":      func() denctest.Codec { return &Resource{} },
	"SetBuckets":    func() denctest.Codec { return &SetBuckets{} },
	"Stats":         func() denctest.Codec { return &Stats{} },
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestEveryTypeIsFuzzed(t *testing.T) { denctest.Complete(t, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"cls_user_account_header": "AccountHeader", "cls_user_account_resource": "Resource", "cls_user_account_resource_add_op": "AccountAdd", "cls_user_account_resource_get_op": "AccountName", "cls_user_account_resource_get_ret": "AccountGet", "cls_user_account_resource_list_op": "AccountList", "cls_user_account_resource_list_ret": "AccountPage", "cls_user_account_resource_rm_op": "AccountName", "cls_user_bucket": "Bucket", "cls_user_bucket_entry": "Entry", "cls_user_complete_stats_sync_op": "At", "cls_user_get_header_op": "GetHeader", "cls_user_get_header_ret": "HeaderResult", "cls_user_header": "Header", "cls_user_list_buckets_op": "ListBuckets", "cls_user_list_buckets_ret": "Buckets", "cls_user_remove_bucket_op": "RemoveBucket", "cls_user_reset_stats2_op": "Reset", "cls_user_reset_stats2_ret": "ResetResult", "cls_user_reset_stats_op": "At", "cls_user_set_buckets_op": "SetBuckets", "cls_user_stats": "Stats",
	}, nil)
}
