package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/parley-go/parley/transport/tcp"
)

// The files of a certificate folder, which is all that a node needs to know and
// be known by the others.
const (
	authorityFile   = "authority.crt"
	certificateFile = "node.crt"
	keyFile         = "node.key"
)

// certify is the command of that name.
func certify(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("certify", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder to write to; made if it is not there")
	flags.Usage = func() {
		fmt.Fprint(stderr, "kv certify -dir FOLDER NAME...: makes an authority, and a folder FOLDER/NAME for each node with what\n"+
			"kv serve -certs wants. The authority's own key is not kept: for another node, make all anew.\n")
		flags.PrintDefaults()
	}
	if err := parseFlags(flags, args, stderr); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() == 0 {
		return usageError{errors.New("certify needs -dir FOLDER and the names of the nodes")}
	}
	if err := issue(*dir, flags.Args()); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "%s has certificates, valid for a year, for %s; you alone can read the keys\n", *dir, strings.Join(flags.Args(), ", "))
	return err
}

// issue makes an authority and a folder below dir for each node, and forgets the
// authority's key. It replaces no file.
func issue(dir string, names []string) error {
	authority, err := tcp.NewAuthority()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !filepath.IsLocal(name) || filepath.Base(name) != name {
			return fmt.Errorf("the node name %q does not do for the name of a folder", name)
		}
		c, err := authority.Issue(name)
		if err != nil {
			return fmt.Errorf("certificate of node %q: %w", name, err)
		}
		folder := filepath.Join(dir, name)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		if err := errors.Join(
			writeNew(filepath.Join(folder, authorityFile), c.Authority),
			writeNew(filepath.Join(folder, certificateFile), c.Certificate),
			writeNew(filepath.Join(folder, keyFile), c.Key),
		); err != nil {
			return err
		}
	}
	return nil
}

// writeNew writes a file that was not there, for its owner alone.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// loadTLS reads a certificate folder.
func loadTLS(dir string) (*tls.Config, error) {
	var c tcp.Credentials
	for _, f := range []struct {
		name string
		into *[]byte
	}{{authorityFile, &c.Authority}, {certificateFile, &c.Certificate}, {keyFile, &c.Key}} {
		content, err := os.ReadFile(filepath.Join(dir, f.name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w (kv certify makes these files)", err)
		}
		if err != nil {
			return nil, err
		}
		*f.into = content
	}
	return c.TLS()
}
