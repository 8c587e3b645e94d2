package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// certificateLife is long, since who pins a certificate does not look at dates.
const certificateLife = 30 * 365 * 24 * time.Hour

// Fingerprint spells a certificate, given in DER: "sha256:" and 64 hexadecimal
// digits.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ParseFingerprint brings a fingerprint into the spelling of Fingerprint. It
// also takes upper case, and the colons of openssl.
func ParseFingerprint(s string) (string, error) {
	plain := strings.ToLower(strings.TrimSpace(s))
	for _, prefix := range []string{"sha256:", "sha256 fingerprint="} {
		plain = strings.TrimPrefix(plain, prefix)
	}
	plain = strings.ReplaceAll(plain, ":", "")
	if _, err := parseHexDigest(plain); err != nil {
		return "", fmt.Errorf("%q is not a fingerprint: sha256: and 64 hexadecimal digits", clip(s))
	}
	return "sha256:" + plain, nil
}

// LoadCertificate reads a certificate chain and its key from PEM files.
func LoadCertificate(certFile, keyFile string) (*tls.Config, string, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, "", fmt.Errorf("load the certificate: %w", err)
	}
	return serverTLS(pair), Fingerprint(pair.Certificate[0]), nil
}

// SelfSigned reads the certificate at path, or makes one for the host names and
// addresses given and keeps it there with its key, readable for its owner only.
// It returns the fingerprint for clients to pin.
func SelfSigned(path string, hosts []string, now func() time.Time) (*tls.Config, string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if data, err = makeCertificate(hosts, now()); err == nil {
			err = atomicfile.WriteFile(path, data, 0o600)
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("self-signed certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, "", fmt.Errorf("self-signed certificate %s: %w", path, err)
	}
	return serverTLS(pair), Fingerprint(pair.Certificate[0]), nil
}

func serverTLS(pair tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

func makeCertificate(hosts []string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "syncfs"},
		NotBefore:             now.Add(-24 * time.Hour), // a client's clock may be behind
		NotAfter:              now.Add(certificateLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if host != "" {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...), nil
}
