package rbdcmd

// mirrorHandlers are the commands that configure and watch mirroring.
func mirrorHandlers() map[string]handler {
	return map[string]handler{}
}
