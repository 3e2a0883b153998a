package scenarios

import "testing"

// The scenarios of both modes, here of images that are mirrored by their journals.

func TestScenario03AddImageJournal(t *testing.T) { scenario03(mirroredByJournal(t)) }

func TestScenario04And05ImageAddedWhileTheDaemonIsStoppedJournal(t *testing.T) {
	scenario04(mirroredByJournal(t))
}

func TestScenario06AdminSocketJournal(t *testing.T) { scenario06(mirroredByJournal(t)) }

func TestScenario07RenameImageJournal(t *testing.T) { scenario07(mirroredByJournal(t)) }

func TestScenario08TrashMoveDeletesTheReplicaJournal(t *testing.T) { scenario08(mirroredByJournal(t)) }

func TestScenario09RemovedImagesLeaveNothingJournal(t *testing.T) { scenario09(mirroredByJournal(t)) }

func TestScenario10DemoteAndPromoteOnTheSameClusterJournal(t *testing.T) {
	scenario10(mirroredByJournal(t))
}

func TestScenario25SnapshotRenamedTwentyTimesJournal(t *testing.T) { scenario25(mirroredByJournal(t)) }

func TestScenario11FailoverAndFailbackUnmodifiedJournal(t *testing.T) {
	scenario11(mirroredByJournal(t))
}

func TestScenario12FailoverAndFailbackWithWritesJournal(t *testing.T) {
	scenario12(mirroredByJournal(t))
}

func TestScenario16ForcedPromotionWhileBothRunJournal(t *testing.T) { scenario16(mirroredByJournal(t)) }

func TestScenario26DemotedWhileTheDaemonIsOfflineJournal(t *testing.T) {
	scenario26(mirroredByJournal(t))
}

func TestScenario27DisabledWhileTheDaemonIsStoppedJournal(t *testing.T) {
	scenario27(mirroredByJournal(t))
}

func TestScenario30ResyncJournal(t *testing.T) { scenario30(mirroredByJournal(t)) }

func TestScenario31ResyncWhileTheReplayerIsStoppedJournal(t *testing.T) {
	scenario31(mirroredByJournal(t))
}

func TestScenario32ResyncWhileTheDaemonIsOfflineJournal(t *testing.T) {
	scenario32(mirroredByJournal(t))
}

func TestScenario36SplitBrainAndResyncJournal(t *testing.T) { scenario36(mirroredByJournal(t)) }

func TestScenario17CloneInAnotherPoolJournal(t *testing.T) { scenario17(cloned(t, true, 2)) }

func TestScenario18CloneOfFormat1Journal(t *testing.T) { scenario18(cloned(t, true, 1)) }

func TestScenario20CloneOfTheNonPrimaryParentJournal(t *testing.T) { scenario20(cloned(t, true, 2)) }

func TestScenario01DefaultToOtherNamespaceJournal(t *testing.T) { testNamespaces(t, true, "", "ns1") }

func TestScenario02OtherToDefaultNamespaceJournal(t *testing.T) { testNamespaces(t, true, "ns1", "") }

func TestScenario29NamespacesOfDifferentNamesJournal(t *testing.T) {
	testNamespaces(t, true, "ns3", "ns4")
}

func TestScenario28NamespacesOfTheSameNameJournal(t *testing.T) { scenario28(t, true) }

func TestScenario21SeparateDataPoolJournal(t *testing.T) { scenario21(t, true) }

func TestScenario22DisabledOrDeletedJournal(t *testing.T) { scenario22(t, true) }

func TestClonesFollowAFlatteningJournal(t *testing.T) { flattening(t, true) }

func TestStripedImagesJournal(t *testing.T) { striped(t, true) }

func TestScenario19ParentSnapshotOfFormat2RemovedJournal(t *testing.T) {
	scenario19(cloned(t, true, 2))
}
