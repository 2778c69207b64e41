package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Decode reads a document's value as a T.
func Decode[T any](d Doc) (T, error) {
	var v T
	if err := json.Unmarshal(d.Value, &v); err != nil {
		return v, fmt.Errorf("store: document %s: %w", d.Key, err)
	}
	return v, nil
}

// Read returns the document at key as a T, and its revision; ErrNotFound and Absent if there is none.
func Read[T any](ctx context.Context, s *Store, key string) (T, int64, error) {
	d, err := s.Get(ctx, key)
	if err != nil {
		var zero T
		return zero, Absent, err
	}
	v, err := Decode[T](d)
	return v, d.Rev, err
}

// ReadAll returns all documents below prefix, in the order of their keys.
func ReadAll[T any](ctx context.Context, s *Store, prefix string) ([]T, error) {
	docs, err := s.List(ctx, prefix, "", 0)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(docs))
	for i, d := range docs {
		if out[i], err = Decode[T](d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Write puts v at key and returns its revision.
func Write(ctx context.Context, s *Store, key string, v any, ifRev int64) (int64, error) {
	op, err := PutOp(key, v, ifRev)
	if err != nil {
		return 0, err
	}
	d, err := s.Put(ctx, key, op.Value, ifRev)
	return d.Rev, err
}

// PutOp is the write of v as part of a batch.
func PutOp(key string, v any, ifRev int64) (Op, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Op{}, fmt.Errorf("store: document %s: %w", key, err)
	}
	return Op{Key: key, Value: b, If: ifRev}, nil
}

// Update changes the document at key by f, again when another writer came
// between. f gets the zero value and found=false where there is none; its error ends it unchanged.
func Update[T any](ctx context.Context, s *Store, key string, f func(v *T, found bool) error) (T, int64, error) {
	for {
		v, rev, err := Read[T](ctx, s, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return v, 0, err
		}
		if err := f(&v, err == nil); err != nil {
			return v, 0, err
		}
		next, err := Write(ctx, s, key, v, rev)
		if !errors.Is(err, ErrConflict) {
			return v, next, err
		}
	}
}
