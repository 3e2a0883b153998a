package rbdcmd

import (
	_ "embed"
	"io"
)

// completionWords is what "rbd bash-completion" of release 20.2 prints, which the
// shell's completion file takes apart at "|": the global options, then the words of
// every command with its aliases. 16.2 lacks "group info" and "group snap info".
//
//go:embed completion.txt
var completionWords string

// completionCommand is the word for which the list is printed. No list of commands
// shows it, and it pays no heed to what follows it.
const completionCommand = "bash-completion"

func printCompletion(w io.Writer) error {
	_, err := io.WriteString(w, completionWords)
	return err
}

// hiddenCommands are those for a kernel's devices that rbd knows without its help
// showing them; they are not part of rbdm.
func hiddenCommands() []string {
	return []string{"device ls", "nbd list", "nbd ls", "nbd map", "nbd unmap"}
}
