package secretfile

// rootFiles lists where distributions keep the authorities in one file; the first that
// there is counts.
func rootFiles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt", // Debian, Gentoo
		"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora
		"/etc/ssl/ca-bundle.pem",             // openSUSE
		"/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL
		"/etc/ssl/cert.pem",                                 // Alpine
	}
}

// rootFolders lists folders of authorities; all count.
func rootFolders() []string { return []string{"/etc/ssl/certs", "/etc/pki/tls/certs"} }
