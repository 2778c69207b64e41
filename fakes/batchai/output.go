package batchai

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/batchai/pool"
)

// standardOutput is the id of the directory that each job has.
const standardOutput = "stdouterr"

// output is a job's directory in storage; without a Place it is elsewhere, where it can't be listed.
type output struct {
	Place  *Place `json:",omitempty"`
	Folder string
}

// outputsOf finds the job's directories in the volumes of the job and its cluster.
func outputsOf(j pool.Job, c pool.Cluster) map[string]output {
	out := map[string]output{standardOutput: within(j, c, j.StdOutErrPathPrefix, path.Join(j.Segment, "stdouterr"))}
	for _, d := range j.Outputs {
		out[d.ID] = within(j, c, d.PathPrefix, path.Join(j.Segment, "outputs", d.PathSuffix))
	}
	return out
}

// within finds the volume that a path begins in.
func within(j pool.Job, c pool.Cluster, prefix, rest string) output {
	for _, root := range []struct {
		name    string
		volumes []pool.Volume
	}{{"AZ_BATCHAI_JOB_MOUNT_ROOT", j.Volumes}, {"AZ_BATCHAI_MOUNT_ROOT", c.Volumes}} {
		for _, start := range []string{"$" + root.name + "/", "${" + root.name + "}/"} {
			below, ok := strings.CutPrefix(prefix, start)
			if !ok {
				continue
			}
			below = path.Clean(below)
			for _, v := range root.volumes {
				inside, ok := strings.CutPrefix(below, v.Path)
				if !ok || inside != "" && inside[0] != '/' {
					continue
				}
				var s source
				if json.Unmarshal(v.Source, &s) != nil || s.Place == nil {
					return output{}
				}
				return output{Place: s.Place, Folder: path.Join(s.Directory, inside, rest)}
			}
		}
	}
	return output{}
}

// leaves says that a relative path leads out of where it begins.
func leaves(p string) bool { return !filepath.IsLocal(filepath.FromSlash(p)) }

// A page of files, and how long their URLs are good (FileListResult, MaxResults and LinkExpiryInMinutes of 2018-05-01).
const (
	mostFiles      = 1000
	usualExpiry    = 60
	least, longest = 5, 600
)

// listOutputFiles is POST listOutputFiles, and GET of its further pages.
func (f *Fake) listOutputFiles(ctx context.Context, _ arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
	p, err := jobNotes(r)
	if err != nil {
		return 0, nil, err
	}
	id := parameter(c, "outputdirectoryid")
	if id == "" {
		return 0, nil, queryRefused("MissingRequiredQueryParameter", "outputdirectoryid", "A required query parameter was not specified for this request: outputdirectoryid")
	}
	at, ok := p.Outputs[id]
	if strings.EqualFold(id, standardOutput) {
		at, ok = p.Outputs[standardOutput]
	}
	if !ok {
		return 0, nil, &arm.Error{Status: http.StatusNotFound, Code: "OutputDirectoryNotFound", Message: fmt.Sprintf("The specified output directory %s is not found", id)}
	}
	if at.Place == nil {
		return 0, nil, &arm.Error{Status: http.StatusBadRequest, Code: "OutputDirectoryNotSupported",
			Message: fmt.Sprintf("Files of the output directory %s can't be listed: it is not on an Azure File Share or an Azure Blob Container", id)}
	}
	directory := parameter(c, "directory")
	if directory != "" && directory != "." && leaves(directory) {
		return 0, nil, queryRefused("InvalidQueryParameterValue", "directory", fmt.Sprintf("The value %s of the query parameter directory leaves the output directory", directory))
	}
	expiry, err := number(c, "linkexpiryinminutes", usualExpiry, least, longest)
	if err != nil {
		return 0, nil, err
	}
	size, err := number(c, "maxresults", mostFiles, 1, mostFiles)
	if err != nil {
		return 0, nil, err
	}
	after, err := base64.RawURLEncoding.DecodeString(parameter(c, "$skiptoken"))
	if err != nil {
		return 0, nil, queryRefused("InvalidQueryParameterValue", "$skiptoken", "The value of the query parameter $skiptoken is invalid")
	}
	if f.cfg.Storage == nil {
		return 0, nil, fmt.Errorf("batchai: no storage")
	}
	files, err := f.cfg.Storage.Files(ctx, *at.Place, path.Join(at.Folder, directory), f.cfg.Clock.Now().Add(time.Duration(expiry)*time.Minute))
	if err != nil {
		return 0, nil, err
	}
	sort.Slice(files, func(i, j int) bool { return files[i].Name < files[j].Name })
	first := sort.Search(len(files), func(i int) bool { return files[i].Name > string(after) })
	if len(after) > 0 {
		files = files[first:]
	}
	answer := map[string]any{}
	if len(files) > size {
		files = files[:size]
		answer["nextLink"] = nextPage(c, r, files[size-1].Name)
	}
	value := []any{}
	for _, file := range files {
		value = append(value, f.file(c.Version, file))
	}
	answer["value"] = value
	return http.StatusOK, answer, nil
}

// file is one on the wire; before 2018-05-01 a flag said what is a directory.
func (f *Fake) file(version string, file File) map[string]any {
	doc := map[string]any{"name": file.Name, "fileType": "file", "isDirectory": file.Folder}
	if file.Folder {
		doc["fileType"] = "directory"
	} else {
		doc["downloadUrl"] = file.URL
		doc["properties"] = map[string]any{"lastModified": file.Modified.UTC().Format("2006-01-02T15:04:05Z"), "contentLength": file.Size}
	}
	f.fit(kindFile, version, doc)
	return doc
}

func nextPage(c arm.Call, r *arm.Resource, last string) string {
	q := url.Values{}
	for name, values := range c.Query {
		if !strings.EqualFold(name, "$skiptoken") {
			q[name] = values[:min(1, len(values))]
		}
	}
	q.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(last)))
	return c.Base + (&url.URL{Path: r.ID.String()}).EscapedPath() + "/listOutputFiles?" + strings.ReplaceAll(q.Encode(), "%24", "$")
}

// parameter is the first value of a query parameter, whatever its name's case.
func parameter(c arm.Call, name string) string {
	for k, v := range c.Query {
		if strings.EqualFold(k, name) && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

func number(c arm.Call, name string, usual, low, high int) (int, error) {
	s := parameter(c, name)
	if s == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, queryRefused("OutOfRangeQueryParameterValue", name, fmt.Sprintf("The value %s of the query parameter %s is not a number from %d to %d", s, name, low, high))
	}
	return n, nil
}

func queryRefused(code, name, message string) *arm.Error {
	return &arm.Error{Status: http.StatusBadRequest, Code: code, Target: name, Message: message}
}
