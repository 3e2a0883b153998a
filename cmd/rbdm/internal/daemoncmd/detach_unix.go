//go:build unix

package daemoncmd

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// detach starts the daemon again, in the foreground of a session of its own, and
// returns: the way into the background for a program that cannot fork.
func detach(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, append([]string{"rbd-mirror", "-f"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("go into the background: %w", err)
	}
	return cmd.Process.Release()
}

// become changes the process's user and group, each a name or a number. made is a
// folder to give to them, or "".
func become(userName, groupName, made string) error {
	uid, gid := -1, -1
	if userName != "" {
		u, err := user.Lookup(userName)
		if err != nil {
			if u, err = user.LookupId(userName); err != nil {
				return fmt.Errorf("unable to look up user '%s'", userName)
			}
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
	}
	if groupName != "" {
		g, err := user.LookupGroup(groupName)
		if err != nil {
			if g, err = user.LookupGroupId(groupName); err != nil {
				return fmt.Errorf("unable to look up group '%s'", groupName)
			}
		}
		gid, _ = strconv.Atoi(g.Gid)
	}
	if made != "" {
		if err := os.Chown(made, uid, gid); err != nil {
			return fmt.Errorf("folder of the checkpoints: %w", err)
		}
	}
	if gid >= 0 && gid != os.Getgid() {
		if err := syscall.Setgroups(nil); err != nil {
			return fmt.Errorf("drop groups: %w", err)
		}
		if err := syscall.Setgid(gid); err != nil {
			return fmt.Errorf("--setgroup: %w", err)
		}
	}
	if uid >= 0 && uid != os.Getuid() {
		if err := syscall.Setuid(uid); err != nil {
			return fmt.Errorf("--setuser: %w", err)
		}
	}
	return nil
}
