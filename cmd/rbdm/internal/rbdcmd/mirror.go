package rbdcmd

// mirrorHandlers are the commands that configure and watch mirroring.
func mirrorHandlers() map[string]handler {
	return map[string]handler{
		"mirror image enable":   mirrorImageEnable,
		"mirror image disable":  mirrorImageDisable,
		"mirror image promote":  mirrorImagePromote,
		"mirror image demote":   mirrorImageDemote,
		"mirror image resync":   mirrorImageResync,
		"mirror image snapshot": mirrorImageSnapshot,
		"mirror image status":   mirrorImageStatus,

		"mirror pool enable":  mirrorPoolEnable,
		"mirror pool disable": mirrorPoolDisable,
		"mirror pool info":    mirrorPoolInfo,
		"mirror pool status":  mirrorPoolStatus,
		"mirror pool promote": mirrorPoolPromote,
		"mirror pool demote":  mirrorPoolDemote,

		"mirror pool peer add":              mirrorPeerAdd,
		"mirror pool peer remove":           mirrorPeerRemove,
		"mirror pool peer set":              mirrorPeerSet,
		"mirror pool peer bootstrap create": mirrorBootstrapCreate,
		"mirror pool peer bootstrap import": mirrorBootstrapImport,
	}
}
