package cluster

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"unicode/utf16"
)

// trustPassword protects nothing: Java wants one, and the file holds public certificates.
const trustPassword = "changeit"

// trustStore writes a bundle of certificates as Java's own key store format
// (JKS, version 2), in which any Java reads whom to trust.
func trustStore(bundle []byte) ([]byte, error) {
	var certs [][]byte
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			certs = append(certs, block.Bytes)
		}
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("cluster: the bundle of certificates holds none")
	}
	var b bytes.Buffer
	number := func(v any) { _ = binary.Write(&b, binary.BigEndian, v) }
	text := func(s string) {
		number(uint16(len(s)))
		b.WriteString(s)
	}
	number(uint32(0xfeedfeed))
	number(uint32(2))
	number(uint32(len(certs)))
	for i, c := range certs {
		number(uint32(2)) // a trusted certificate
		text(fmt.Sprintf("ca%d", i))
		number(uint64(0))
		text("X.509")
		number(uint32(len(c)))
		b.Write(c)
	}
	seal := sha1.New()
	for _, u := range utf16.Encode([]rune(trustPassword)) {
		_ = binary.Write(seal, binary.BigEndian, u)
	}
	seal.Write([]byte("Mighty Aphrodite"))
	seal.Write(b.Bytes())
	return seal.Sum(b.Bytes()), nil
}
