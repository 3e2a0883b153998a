package cli

import (
	"strings"
	"testing"
)

func sample(f *Formatter) string {
	f.OpenArray("images")
	f.OpenObject("image")
	f.String("name", `a<"`)
	f.Uint("size", 7)
	f.OpenArray("flags")
	f.Close()
	f.Close()
	f.Close()
	var b strings.Builder
	f.Flush(&b)
	return b.String()
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		format string
		pretty bool
		want   string
	}{
		{"json", false, `[{"name":"a<\"","size":7,"flags":[]}]` + "\n"},
		{"json", true, "[\n    {\n        \"name\": \"a<\\\"\",\n        \"size\": 7,\n        \"flags\": []\n    }\n]\n"},
		{"xml", false, "<images><image><name>a&lt;&quot;</name><size>7</size><flags></flags></image></images>\n"},
		{"xml", true, "<images>\n <image>\n  <name>a&lt;&quot;</name>\n  <size>7</size>\n  <flags>\n  </flags>\n </image>\n</images>\n\n"},
	} {
		if got := sample(NewFormatter(c.format, c.pretty)); got != c.want {
			t.Errorf("%s, pretty %v:\n%s\nwant\n%s", c.format, c.pretty, got, c.want)
		}
	}
}
