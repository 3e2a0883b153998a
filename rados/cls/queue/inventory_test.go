package queue

import (
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

// types are all codecs of this package.
var types = denctest.Types{
	"Capacity":        func() denctest.Codec { return &Capacity{} },
	"Commit":          func() denctest.Codec { return &Commit{} },
	"Enqueue":         func() denctest.Codec { return &Enqueue{} },
	"Entry":           func() denctest.Codec { return &Entry{} },
	"Expire":          func() denctest.Codec { return &Expire{} },
	"Head":            func() denctest.Codec { return &Head{} },
	"ID":              func() denctest.Codec { return &ID{} },
	"Init":            func() denctest.Codec { return &Init{} },
	"List":            func() denctest.Codec { return &List{} },
	"Marker":          func() denctest.Codec { return &Marker{} },
	"Page":            func() denctest.Codec { return &Page{} },
	"Remove":          func() denctest.Codec { return &Remove{} },
	"Reservation":     func() denctest.Codec { return &Reservation{} },
	"ReservationList": func() denctest.Codec { return &ReservationList{} },
	"Reservations":    func() denctest.Codec { return &Reservations{} },
	"Reserve":         func() denctest.Codec { return &Reserve{} },
	"Stats":           func() denctest.Codec { return &Stats{} },
	"TwoPhaseRemove":  func() denctest.Codec { return &TwoPhaseRemove{} },
	"Urgent":          func() denctest.Codec { return &Urgent{} },
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestEveryTypeIsFuzzed(t *testing.T) { denctest.Complete(t, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"cls_2pc_queue_abort_op": "ID", "cls_2pc_queue_commit_op": "Commit", "cls_2pc_queue_expire_op": "Expire", "cls_2pc_queue_remove_op": "TwoPhaseRemove", "cls_2pc_queue_reservations_ret": "ReservationList", "cls_2pc_queue_reserve_op": "Reserve", "cls_2pc_queue_reserve_ret": "ID", "cls_2pc_reservation": "Reservation", "cls_2pc_urgent_data": "Urgent", "cls_queue_enqueue_op": "Enqueue", "cls_queue_entry": "Entry", "cls_queue_get_capacity_ret": "Capacity", "cls_queue_get_stats_ret": "Stats", "cls_queue_head": "Head", "cls_queue_init_op": "Init", "cls_queue_list_op": "List", "cls_queue_list_ret": "Page", "cls_queue_marker": "Marker", "cls_queue_remove_op": "Remove",
	}, map[string]string{
		"16.2.0-90-g50f1821b4c/objects/cls_2pc_queue_reservations_ret/":    "Ceph writes reservations in no order",
		"16.2.0-90-g50f1821b4c/objects/cls_2pc_urgent_data/":               "Ceph writes reservations in no order",
		"18.2.0/objects/cls_2pc_queue_reservations_ret/":                   "Ceph writes reservations in no order",
		"18.2.0/objects/cls_2pc_urgent_data/":                              "Ceph writes reservations in no order",
		"19.2.0-404-g78ddc7f9027/objects/cls_2pc_queue_reservations_ret/":  "Ceph writes reservations in no order",
		"19.2.0-404-g78ddc7f9027/objects/cls_2pc_urgent_data/":             "Ceph writes reservations in no order",
		"20.3.0-4314-g034eb49a9ce/objects/cls_2pc_queue_reservations_ret/": "Ceph writes reservations in no order",
		"20.3.0-4314-g034eb49a9ce/objects/cls_2pc_urgent_data/":            "Ceph writes reservations in no order",
	})
}
