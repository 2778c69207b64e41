package execution

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

const (
	// maxConfigZip is the 25 MB that the client allows for aml_config, and what a zip adds to that.
	maxConfigZip  = 26 << 20
	maxDefinition = 8 << 20
	// maxProjectZip and maxProjectFiles are the limits of a snapshot: what is larger could not be run either way.
	maxProjectZip   = 300 << 20
	maxProjectFiles = 50_000
)

// submission is a run request as it came: its definition, and its zip in a
// temporary file of the service's folder.
type submission struct {
	def *definition
	zip string // path; empty: none came
}

func (s *submission) discard() {
	if s.zip != "" {
		_ = os.Remove(s.zip)
	}
}

// readSubmission reads the multipart form: definition.json and one zip, both
// named "files", in any order. The zip is checked: nothing of it may land
// outside the folder it is unpacked in. On an error nothing is left behind.
func (s *Service) readSubmission(w http.ResponseWriter, r *http.Request, prepareOnly bool, zipLimit int64) (_ *submission, err error) {
	form, err := r.MultipartReader()
	if err != nil {
		return nil, plane.BadRequest("files", "The request must be multipart/form-data with the files definition.json and a zip.")
	}
	sub := &submission{}
	defer func() {
		if err != nil {
			sub.discard()
		}
	}()
	r.Body = http.MaxBytesReader(w, r.Body, zipLimit+maxDefinition+1<<20)
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, plane.BadRequest("files", "The multipart body is broken: %s.", err)
		}
		if err := s.readPart(part, sub, prepareOnly, zipLimit); err != nil {
			return nil, err
		}
	}
	if sub.def == nil {
		return nil, plane.BadRequest("files", "The request has no part 'definition.json'.")
	}
	if sub.zip == "" {
		return nil, plane.BadRequest("files", "The request has no zip of the project.")
	}
	return sub, nil
}

func (s *Service) readPart(part *multipart.Part, sub *submission, prepareOnly bool, zipLimit int64) error {
	name := part.FileName()
	if strings.EqualFold(name, "definition.json") {
		if sub.def != nil {
			return plane.BadRequest("files", "The part 'definition.json' came twice.")
		}
		b, err := io.ReadAll(io.LimitReader(part, maxDefinition+1))
		if err != nil {
			return plane.BadRequest("files", "The multipart body is broken: %s.", err)
		}
		if len(b) > maxDefinition {
			return plane.TooLarge("definition.json is larger than %d MB.", maxDefinition>>20)
		}
		sub.def, err = parseDefinition(b, prepareOnly)
		return err
	}
	if !strings.HasSuffix(strings.ToLower(name), ".zip") {
		return plane.BadRequest("files", "The part with the file name '%s' is neither definition.json nor a zip.", name)
	}
	if sub.zip != "" {
		return plane.BadRequest("files", "More than one zip came.")
	}
	f, err := os.CreateTemp(s.cfg.Dir, "incoming-*.zip")
	if err != nil {
		return fmt.Errorf("execution: %w", err)
	}
	sub.zip = f.Name()
	n, err := io.Copy(f, io.LimitReader(part, zipLimit+1))
	if cerr := f.Close(); err == nil && cerr != nil {
		return fmt.Errorf("execution: %w", cerr)
	}
	if err != nil {
		return plane.BadRequest("files", "The multipart body is broken: %s.", err)
	}
	if n > zipLimit {
		return plane.TooLarge("%s is larger than %d MB.", name, zipLimit>>20)
	}
	return checkZip(sub.zip, name)
}

// checkZip refuses what would write outside of the folder that it is unpacked in, links, and bombs.
func checkZip(file, name string) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return plane.BadRequest("files", "%s is not a zip: %s.", name, err)
	}
	defer func() { _ = z.Close() }()
	if len(z.File) > maxProjectFiles {
		return plane.TooLarge("%s has more than %d entries.", name, maxProjectFiles)
	}
	var total uint64
	for _, f := range z.File {
		if !inside(f.Name) {
			return plane.BadRequest("files", "The entry '%s' of %s would be unpacked outside of the project.", f.Name, name)
		}
		if mode := f.Mode(); !mode.IsRegular() && !mode.IsDir() {
			return plane.BadRequest("files", "The entry '%s' of %s is a link or a device.", f.Name, name)
		}
		if total += f.UncompressedSize64; total > maxProjectZip {
			return plane.TooLarge("%s unpacks to more than %d MB.", name, maxProjectZip>>20)
		}
	}
	return nil
}

func inside(name string) bool {
	name = strings.ReplaceAll(name, `\`, "/")
	if name == "" || path.IsAbs(name) || strings.ContainsRune(name, 0) || (len(name) > 1 && name[1] == ':') {
		return false
	}
	for _, seg := range strings.Split(name, "/") {
		if seg == ".." {
			return false
		}
	}
	return filepath.IsLocal(path.Clean(name))
}

// hasScript reports whether the project's zip holds the script as a file.
func hasScript(file, script string) (bool, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return false, fmt.Errorf("execution: %w", err)
	}
	defer func() { _ = z.Close() }()
	for _, f := range z.File {
		if !f.Mode().IsDir() && path.Clean(strings.ReplaceAll(f.Name, `\`, "/")) == script {
			return true, nil
		}
	}
	return false, nil
}
