package arm_test

import (
	"math/rand"
	"strings"
	"testing"
	"testing/quick"

	"lazulite.dev/emulator/arm"
)

func TestParseID(t *testing.T) {
	const s = "/subscriptions/S"
	for _, tt := range []struct{ id, typ, name, sub, group, provider, parent string }{
		{s, arm.TypeSubscription, "S", "S", "", "", ""},
		{s + "/resourceGroups/G", arm.TypeResourceGroup, "G", "S", "G", "", s},
		{s + "/RESOURCEGROUPS/G", arm.TypeResourceGroup, "G", "S", "G", "", s},
		{s + "/providers/Microsoft.X", arm.TypeProvider, "Microsoft.X", "S", "", "Microsoft.X", s},
		{s + "/providers/Microsoft.X/ys/z", "Microsoft.X/ys", "z", "S", "", "Microsoft.X", s},
		{"/providers/Microsoft.X/ys/z", "Microsoft.X/ys", "z", "", "", "Microsoft.X", ""},
		{s + "/resourcegroups/G/providers/Microsoft.X/ys/z", "Microsoft.X/ys", "z", "S", "G", "Microsoft.X", s + "/resourcegroups/G"},
		{s + "/resourceGroups/G/providers/Microsoft.X/ys/z/as/b", "Microsoft.X/ys/as", "b", "S", "G", "Microsoft.X", s + "/resourceGroups/G/providers/Microsoft.X/ys/z"},
		{s + "/resourceGroups/G/providers/M.X/ys/z/providers/M.Y/locks/l", "M.Y/locks", "l", "S", "G", "M.Y", s + "/resourceGroups/G/providers/M.X/ys/z"},
		{s + "/resourceGroups/providers/providers/M.X/ys/providers", "M.X/ys", "providers", "S", "providers", "M.X", s + "/resourceGroups/providers"},
	} {
		t.Run(tt.id, func(t *testing.T) {
			id, err := arm.ParseID(tt.id + "/")
			if err != nil {
				t.Fatal(err)
			}
			got := []string{id.String(), id.Type(), id.Name(), id.Subscription(), id.ResourceGroup(), id.Provider(), id.Parent().String()}
			want := []string{tt.id, tt.typ, tt.name, tt.sub, tt.group, tt.provider, tt.parent}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("got %q, want %q", got[i], want[i])
				}
			}
			other, err := arm.ParseID(strings.ToUpper(tt.id))
			if err != nil || !other.Equal(id) || other.Key() != id.Key() {
				t.Errorf("upper case: %v, %v", other, err)
			}
		})
	}
	for _, bad := range []string{"", "/", "x", "/subscriptions", "/subscriptions/S/resourceGroups", "/subscriptions/S//x", "/subscriptions/S/providers",
		"/subscriptions/S/foo/bar", "/providers/M.X/ys", "/subscriptions/S/resourceGroups/G/providers/M.X/ys/z/as", "/tenants/x"} {
		if id, err := arm.ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) = %q, want an error", bad, id)
		}
	}
}

// Ensure that composing an id and taking it apart are inverse, whatever the names.
func TestIDRoundTrip(t *testing.T) {
	word := func(r *rand.Rand) string {
		const letters = "abcXYZ-_.()09 éK"
		b := []rune{}
		for n := 1 + r.Intn(8); n > 0; n-- {
			rs := []rune(letters)
			b = append(b, rs[r.Intn(len(rs))])
		}
		return string(b)
	}
	f := func(seed int64) bool {
		r := rand.New(rand.NewSource(seed))
		id, err := arm.ParseID("/subscriptions/" + word(r) + "/resourceGroups/" + word(r))
		if err != nil {
			return false
		}
		typ, chain := "Microsoft."+strings.ReplaceAll(word(r), " ", "x"), []arm.ID{id}
		for n := 1 + r.Intn(4); n > 0; n-- {
			part, name := "t"+word(r), word(r)
			if len(chain) == 1 {
				typ += "/" + part
				id = id.Child(typ, name)
			} else {
				typ += "/" + part
				id = id.Child(part, name)
			}
			parsed, err := arm.ParseID(id.String())
			if err != nil || parsed.String() != id.String() || parsed.Type() != typ || parsed.Name() != name || parsed.Parent() != chain[len(chain)-1] {
				t.Logf("%q: %v type %q name %q parent %q", id, err, parsed.Type(), parsed.Name(), parsed.Parent())
				return false
			}
			chain = append(chain, id)
		}
		return chain[0].Parent().Type() == arm.TypeSubscription
	}
	if err := quick.Check(f, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}
