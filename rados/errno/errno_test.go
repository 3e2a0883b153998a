package errno

import (
	"errors"
	"fmt"
	"testing"
)

func TestErrorsAreComparedByValue(t *testing.T) {
	err := fmt.Errorf("stat: %w", FromResult(-2))
	if !errors.Is(err, ErrNotFound) || errors.Is(err, ErrExists) {
		t.Errorf("got %v", err)
	}
	if FromResult(0) != nil || FromResult(7) != nil {
		t.Error("a positive result is no error")
	}
	if ErrStale.Result() != -116 {
		t.Error(ErrStale.Result())
	}
	if got := Errno(4095).Error(); got != "error 4095" {
		t.Error(got)
	}
}
