//go:build dragonfly || freebsd || netbsd || openbsd

package secretfile

// rootFiles lists where the authorities are kept in one file; the first that there is
// counts.
func rootFiles() []string {
	return []string{
		"/usr/local/etc/ssl/cert.pem", "/etc/ssl/cert.pem",
		"/usr/local/share/certs/ca-root-nss.crt", "/etc/openssl/certs/ca-certificates.crt",
	}
}

// rootFolders lists folders of authorities; all count.
func rootFolders() []string {
	return []string{"/etc/ssl/certs", "/usr/local/share/certs", "/etc/openssl/certs"}
}
