package assets_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/store"
)

// memory is storage in memory. Its SAS are readable: "sig" is the permission's.
type memory struct {
	mu         sync.Mutex
	accounts   map[string]map[string]map[string]memoryBlob
	failAppend error // once
	putBytes   int64
	discard    bool   // keep sizes, not contents
	base       string // of URLs, where it is not Azure's
}

type memoryBlob struct {
	data []byte
	prop blob.Properties
}

func newMemory() *memory { return &memory{accounts: map[string]map[string]map[string]memoryBlob{}} }

func (m *memory) container(account, container string) (map[string]memoryBlob, error) {
	c, ok := m.accounts[account][container]
	if !ok {
		return nil, fmt.Errorf("container %s: %w", container, store.ErrNotFound)
	}
	return c, nil
}

func (m *memory) EnsureAccount(_ context.Context, account string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.accounts[account] == nil {
		m.accounts[account] = map[string]map[string]memoryBlob{}
	}
	return nil
}

func (m *memory) Keys(_ context.Context, account string) ([2]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.accounts[account] == nil {
		return [2]string{}, store.ErrNotFound
	}
	k := sha256.Sum256([]byte(account))
	key := base64.StdEncoding.EncodeToString(k[:])
	return [2]string{key, "c2Vjb25k"}, nil
}

func (m *memory) EnsureContainer(_ context.Context, account, container string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.accounts[account] == nil {
		return store.ErrNotFound
	}
	if m.accounts[account][container] == nil {
		m.accounts[account][container] = map[string]memoryBlob{}
	}
	return nil
}

func (m *memory) SAS(_ context.Context, account, container, name, permissions string, expiry time.Time) (string, error) {
	u := url.URL{Scheme: "https", Host: account + ".blob.core.windows.net", Path: "/" + container}
	if name != "" {
		u.Path += "/" + name
	}
	if m.base != "" {
		base, err := url.Parse(m.base + account)
		if err != nil {
			return "", err
		}
		u.Scheme, u.Host, u.Path = base.Scheme, base.Host, base.Path+u.Path
	}
	u.RawQuery = "sv=2018-03-28&sp=" + permissions + "&se=" + expiry.UTC().Format("2006-01-02T15:04:05Z") + "&sig=good"
	return u.String(), nil
}

func (m *memory) set(account, container, name, contentType string, data []byte, isAppend bool) (blob.Properties, error) {
	c, err := m.container(account, container)
	if err != nil {
		return blob.Properties{}, err
	}
	p := blob.Properties{Name: name, Size: int64(len(data)), ContentType: contentType, Append: isAppend,
		ETag: fmt.Sprintf(`"%x"`, sha256.Sum256(data)), LastModified: time.Date(2018, 10, 10, 0, 0, 0, 0, time.UTC)}
	c[name] = memoryBlob{data, p}
	return p, nil
}

func (m *memory) read(r io.Reader) ([]byte, error) {
	if m.discard {
		_, err := io.Copy(io.Discard, r)
		return nil, err
	}
	return io.ReadAll(r)
}

func (m *memory) Put(_ context.Context, account, container, name, contentType string, r io.Reader) (blob.Properties, error) {
	b, err := m.read(r)
	if err != nil {
		return blob.Properties{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.putBytes += int64(len(b))
	return m.set(account, container, name, contentType, b, false)
}

func (m *memory) Append(_ context.Context, account, container, name string, r io.Reader) (blob.Properties, error) {
	b, err := m.read(r)
	if err != nil {
		return blob.Properties{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.container(account, container)
	if err != nil {
		return blob.Properties{}, err
	}
	p, err := m.set(account, container, name, "", append(bytes.Clone(c[name].data), b...), true)
	if m.failAppend != nil {
		err, m.failAppend = m.failAppend, nil
	}
	return p, err
}

type nopSeekCloser struct{ *bytes.Reader }

func (nopSeekCloser) Close() error { return nil }

func (m *memory) Open(_ context.Context, account, container, name string) (io.ReadSeekCloser, blob.Properties, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.container(account, container)
	if err != nil {
		return nil, blob.Properties{}, err
	}
	b, ok := c[name]
	if !ok {
		return nil, blob.Properties{}, store.ErrNotFound
	}
	return nopSeekCloser{bytes.NewReader(b.data)}, b.prop, nil
}

func (m *memory) List(_ context.Context, account, container, prefix, after string, limit int) ([]blob.Properties, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.container(account, container)
	if err != nil {
		return nil, "", err
	}
	var out []blob.Properties
	for n, b := range c {
		if strings.HasPrefix(n, prefix) && n > after {
			out = append(out, b.prop)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	if limit > 0 && len(out) > limit {
		return out[:limit], out[limit-1].Name, nil
	}
	return out, "", nil
}

func (m *memory) Delete(_ context.Context, account, container, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.container(account, container)
	if err != nil {
		return err
	}
	if _, ok := c[name]; !ok {
		return store.ErrNotFound
	}
	delete(c, name)
	return nil
}

// ServeHTTP answers a list of a container whose SAS has the signature "good".
func (m *memory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	account, _, _ := strings.Cut(r.Host, ".")
	_, err := m.container(account, strings.Trim(r.URL.Path, "/"))
	switch {
	case r.URL.Query().Get("sig") != "good" || r.URL.Query().Get("comp") != "list":
		w.WriteHeader(http.StatusForbidden)
	case err != nil:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = io.WriteString(w, "<EnumerationResults/>")
	}
}

// names lists account/container/blob of everything.
func (m *memory) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for a, cs := range m.accounts {
		for c, bs := range cs {
			for b := range bs {
				out = append(out, a+"/"+c+"/"+b)
			}
		}
	}
	sort.Strings(out)
	return out
}
