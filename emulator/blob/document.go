package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Kinds of blob, as x-ms-blob-type names them.
const (
	blockBlob  = "BlockBlob"
	appendBlob = "AppendBlob"
	pageBlob   = "PageBlob"
)

// account is the document of one storage account.
type account struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"`
	Keys    [2]string `json:"keys"`
	Created time.Time `json:"created"`
	Owner   string    `json:"owner,omitempty"`
	// Service is what Set Blob Service Properties wrote, as XML; empty: the defaults.
	Service string `json:"service,omitempty"`
}

// container is the document of one container, or of one file share.
type container struct {
	Name     string            `json:"name"`
	ID       string            `json:"id"`
	Modified time.Time         `json:"modified"`
	Public   string            `json:"public,omitempty"`
	Policies []policy          `json:"policies,omitempty"`
	Meta     map[string]string `json:"meta,omitempty"`
	Quota    int               `json:"quota,omitempty"`

	rev int64
}

// policy is a stored access policy.
type policy struct {
	ID         string `json:"id"`
	Start      string `json:"start,omitempty"`
	Expiry     string `json:"expiry,omitempty"`
	Permission string `json:"permission,omitempty"`
}

// headers are the content properties that a client sets and gets back.
type headers struct {
	Type        string `json:"type,omitempty"`
	Encoding    string `json:"encoding,omitempty"`
	Language    string `json:"language,omitempty"`
	Disposition string `json:"disposition,omitempty"`
	Cache       string `json:"cache,omitempty"`
	MD5         []byte `json:"md5,omitempty"`
}

// document is what the store keeps of one blob. Of an append blob, the
// length, the count and the time of the last append are in the content file.
type document struct {
	Kind string `json:"kind"`
	// Draft marks a blob that has blocks and was never committed.
	Draft bool `json:"draft,omitempty"`
	// File holds the whole content, unless Blocks is set.
	File     string            `json:"file,omitempty"`
	Blocks   bool              `json:"blocks,omitempty"`
	Size     int64             `json:"size"`
	Created  time.Time         `json:"created"`
	Modified time.Time         `json:"modified"`
	Headers  headers           `json:"headers"`
	Meta     map[string]string `json:"meta,omitempty"`
	Tier     string            `json:"tier,omitempty"`
	TierTime time.Time         `json:"tierTime,omitzero"`
	Copy     *copied           `json:"copy,omitempty"`
}

// copied tells of the Copy Blob that made the blob.
type copied struct {
	ID     string    `json:"id"`
	Source string    `json:"source"`
	Done   time.Time `json:"done"`
}

// block is one block of a blob, committed or not.
type block struct {
	ID   string `json:"i"`
	File string `json:"f,omitempty"`
	Size int64  `json:"n"`
	// Staged is when an uncommitted block came; the service forgets it a week later.
	Staged time.Time `json:"t,omitzero"`
}

// The keys in the store. A container's documents are filed under its id, so
// that a container made anew never sees those of its namesake.
const (
	accountKeys   = "blob/a/"
	containerKeys = "blob/c/"
	blobKeys      = "blob/b/"
	listKeys      = "blob/k/" // committed block lists
	stageKeys     = "blob/u/" // uncommitted blocks
	shareKeys     = "blob/s/"
	fileKeys      = "blob/f/"
	mountKeys     = "blob/m/"
)

func accountKey(name string) string   { return accountKeys + name }
func blobKey(cid, name string) string { return blobKeys + cid + "/" + name }
func listKey(cid, name string) string { return listKeys + cid + "/" + name }

// stagePrefix begins the keys of a blob's uncommitted blocks. The name is
// hashed because the block's id follows it.
func stagePrefix(cid, name string) string {
	sum := sha256.Sum256([]byte(name))
	return stageKeys + cid + "/" + hex.EncodeToString(sum[:16]) + "/"
}

func stageKey(cid, name, id string) string {
	return stagePrefix(cid, name) + hex.EncodeToString([]byte(id))
}

// encode makes the stored form. The documents are ours and always encode.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("blob: encode %T: %v", v, err))
	}
	return b
}

func decode(key string, b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("blob: document %s: %w", key, err)
	}
	return nil
}
