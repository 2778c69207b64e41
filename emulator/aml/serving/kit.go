package serving

import (
	"archive/zip"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/aml/plane"
)

// scripts run in the containers of builds and services.
//
//go:embed image/*.py image/stand_in/azureml/*.py image/stand_in/azureml/core/*.py
var scripts embed.FS

// kitVariable is the secure variable whose URL opens a container's kit: its scripts and what it has to do.
const kitVariable = "AML_KIT_URL"

// bootstrap is all that a container's command line holds: it fetches the kit and runs a script of it.
const bootstrap = `import io, os, runpy, ssl, sys, tempfile, time, urllib.error, urllib.request, zipfile
url = os.environ.pop("` + kitVariable + `")
for attempt in range(60):
    try:
        kit = urllib.request.urlopen(url, timeout=60).read()
        break
    except urllib.error.HTTPError as e:
        sys.exit("The image cannot be had: %s %s" % (e.code, e.reason))
    except OSError as e:
        print("The image cannot be had yet: %s" % e, flush=True)
        time.sleep(1)
else:
    sys.exit("The image cannot be had.")
folder = tempfile.mkdtemp(prefix="azureml-")
zipfile.ZipFile(io.BytesIO(kit)).extractall(folder)
runpy.run_path(os.path.join(folder, sys.argv[1]), run_name="__main__")
`

func command(script string) []string { return []string{"python3", "-c", bootstrap, script} }

// forever is how long a container's URLs are good: a service is restarted as long as it is there.
const forever = 20 * 365 * 24 * time.Hour

// kit packs the scripts, and spec as spec.json.
func kit(spec any) ([]byte, error) {
	files, err := execution.EnvironmentScripts()
	if err != nil {
		return nil, err
	}
	if files["spec.json"], err = json.Marshal(spec); err != nil {
		return nil, fmt.Errorf("serving: %w", err)
	}
	err = fs.WalkDir(scripts, "image", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[strings.TrimPrefix(name, "image/")], err = scripts.ReadFile(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("serving: %w", err)
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for name, content := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			return nil, fmt.Errorf("serving: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("serving: %w", err)
	}
	return out.Bytes(), nil
}

// putKit stores a kit and returns the URL that opens it.
func (s *Service) putKit(ctx context.Context, ws plane.Workspace, name string, spec any) (string, error) {
	b, err := kit(spec)
	if err != nil {
		return "", err
	}
	if _, err := s.cfg.Blob.Put(ctx, ws.StorageAccount, imageContainer, name, "application/zip", bytes.NewReader(b)); err != nil {
		return "", err
	}
	return s.url(ctx, ws, name, "r")
}

func (s *Service) url(ctx context.Context, ws plane.Workspace, name, permissions string) (string, error) {
	return s.cfg.Blob.SAS(ctx, ws.StorageAccount, imageContainer, name, permissions, s.cfg.Clock.Now().Add(forever))
}
