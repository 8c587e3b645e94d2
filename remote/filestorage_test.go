package remote_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/remote"
)

// request sends one request and returns status and body.
func (w *world) request(method, path string, query url.Values, header http.Header, body io.Reader) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path+"?"+query.Encode(), body)
	if err != nil {
		w.t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func withKey(kv ...string) url.Values {
	v := url.Values{"key": {testKey}}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	return v
}

// form is a form with one file of that name, written as clients write it.
func form(name, content string) (http.Header, io.Reader) {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	m.WriteField("comment", "comes before the file")
	part, _ := m.CreatePart(map[string][]string{
		"Content-Disposition": {`form-data; name="file"; filename="` + name + `"`},
		"Content-Type":        {"application/octet-stream"},
	})
	io.WriteString(part, content)
	m.Close()
	return http.Header{"Content-Type": {m.FormDataContentType()}}, &b
}

func (w *world) upload(name, content string) (int, string) {
	w.t.Helper()
	header, body := form(name, content)
	return w.request("POST", "/upload", withKey(), header, body)
}

func (w *world) files() []string {
	w.t.Helper()
	status, body := w.request("GET", "/listallfiles", withKey(), nil, nil)
	var names []string
	if err := json.Unmarshal([]byte(body), &names); status != 200 || err != nil {
		w.t.Fatalf("list: %d %s %v", status, body, err)
	}
	return names
}

func expect(t *testing.T, what string, status int, body string, wantStatus int, wantBody string) {
	t.Helper()
	if status != wantStatus || body != wantBody {
		t.Errorf("%s: %d %q, want %d %q", what, status, body, wantStatus, wantBody)
	}
}

func TestTheFileStorageAPIAnswersAsItsScriptsExpect(t *testing.T) {
	w := serve(t, worldOptions{})
	if names := w.files(); len(names) != 0 {
		t.Errorf("a new server lists %v", names)
	}
	status, body := w.upload("report.docx", "one")
	expect(t, "upload", status, body, 200, "Ok")
	status, body = w.upload("Bericht über März.docx", "zwei")
	expect(t, "upload", status, body, 200, "Ok")
	status, body = w.upload("report.docx", "three")
	expect(t, "replace", status, body, 200, "Ok")
	if names := w.files(); !slices.Equal(names, []string{"Bericht über März.docx", "report.docx"}) {
		t.Errorf("list: %q", names)
	}
	status, body = w.request("GET", "/download", withKey("filename", "report.docx"), nil, nil)
	expect(t, "download", status, body, 200, "three")
	status, body = w.request("GET", "/download", withKey("filename", "Bericht über März.docx"), nil, nil)
	expect(t, "download", status, body, 200, "zwei")
	status, body = w.request("GET", "/download", withKey("filename", "report.docx"), http.Header{"Range": {"bytes=1-2"}}, nil)
	expect(t, "a range", status, body, 206, "hr")
	status, body = w.request("GET", "/download", withKey("filename", "nothing"), nil, nil)
	expect(t, "download of what is not there", status, body, 400, "File does not exist!")
	status, body = w.request("POST", "/deletefile", withKey("filename", "report.docx"), nil, nil)
	expect(t, "delete", status, body, 200, "Ok")
	status, body = w.request("POST", "/deletefile", withKey("filename", "report.docx"), nil, nil)
	expect(t, "delete again", status, body, 400, "File does not exist!")
	if names := w.files(); !slices.Equal(names, []string{"Bericht über März.docx"}) {
		t.Errorf("list: %q", names)
	}

	header := http.Header{"X-Api-Key": {testKey}}
	status, body = w.request("GET", "/listallfiles", nil, header, nil)
	expect(t, "key in the header", status, body, 200, "[\"Bericht über März.docx\"]\n")
	status, body = w.request("GET", "/listallfiles", url.Values{"key": {"wrong"}}, nil, nil)
	expect(t, "a wrong key", status, body, 400, "Access denied")
	status, body = w.request("GET", "/listallfiles", url.Values{"key": {"wrong"}}, header, nil)
	expect(t, "the header comes first", status, body, 200, "[\"Bericht über März.docx\"]\n")
	status, body = w.request("GET", "/listallfiles", nil, nil, nil)
	expect(t, "no key", status, body, 400, "Access denied")
}

func TestAnUploadThatIsNoneIsRefused(t *testing.T) {
	w := serve(t, worldOptions{})
	status, body := w.request("POST", "/upload", withKey(), nil, strings.NewReader("just bytes"))
	expect(t, "no form", status, body, 400, "There is no form: send multipart/form-data with a file")

	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	m.WriteField("text", "not a file")
	m.Close()
	status, body = w.request("POST", "/upload", withKey(), http.Header{"Content-Type": {m.FormDataContentType()}}, &b)
	expect(t, "a form without a file", status, body, 400, "There are no files")

	status, body = w.upload("empty", "")
	expect(t, "an empty file", status, body, 400, "File cannot be empty")

	header, form := form("cut", strings.Repeat("x", 1000))
	whole, _ := io.ReadAll(form)
	status, body = w.request("POST", "/upload", withKey(), header, bytes.NewReader(whole[:len(whole)/2]))
	expect(t, "a form that ends early", status, body, 400, "The upload ended early")
	if names := w.files(); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
}

func TestNoNameLeadsOutOfTheUploads(t *testing.T) {
	w := serve(t, worldOptions{})
	tests := []struct {
		name   string
		status int
		body   string
		stored string
	}{
		{"../../etc/passwd", 200, "Ok", "passwd"},
		{`a\b`, 200, "Ok", "b"},
		{`C:\Users\me\x.txt`, 200, "Ok", "x.txt"},
		{".hidden", 200, "Ok", ".hidden"},
		{"..", 400, "Invalid filename", ""},
		{".", 400, "Invalid filename", ""},
		{"dir/", 400, "Invalid filename", ""},
		{"", 400, "Invalid filename", ""},
		{strings.Repeat("n", 300), 400, "Invalid filename", ""},
		{"tab\tin", 400, "Invalid filename", ""},
		{"bad\xff", 400, "Invalid filename", ""},
	}
	for _, tt := range tests {
		status, body := w.upload(tt.name, "content of "+tt.stored)
		expect(t, fmt.Sprintf("upload as %.20q", tt.name), status, body, tt.status, tt.body)
		if tt.stored == "" {
			continue
		}
		status, body = w.request("GET", "/download", withKey("filename", tt.stored), nil, nil)
		expect(t, "download", status, body, 200, "content of "+tt.stored)
	}
	if err := w.store.Put(t.Context(), "config", strings.NewReader("of the repository"), 17); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../repo/config", "../kept", "..", "/etc/passwd", `..\..\server\tokens.json`, "../files/passwd", ""} {
		status, body := w.request("GET", "/download", withKey("filename", name), nil, nil)
		expect(t, "download of "+name, status, body, 400, "File does not exist!")
		status, body = w.request("POST", "/deletefile", withKey("filename", name), nil, nil)
		expect(t, "delete of "+name, status, body, 400, "File does not exist!")
	}
	if _, err := w.store.Stat(t.Context(), "config"); err != nil {
		t.Errorf("the repository lost an object: %v", err)
	}
}

func TestARoleBoundsTheFileStorageAPI(t *testing.T) {
	w := serve(t, worldOptions{})
	if status, body := w.upload("there", "x"); status != 200 {
		t.Fatal(status, body)
	}
	do := []struct {
		what  string
		least remote.Role
		run   func(key string) (int, string)
	}{
		{"list", remote.RoleRead, func(key string) (int, string) {
			return w.request("GET", "/listallfiles", url.Values{"key": {key}}, nil, nil)
		}},
		{"download", remote.RoleRead, func(key string) (int, string) {
			return w.request("GET", "/download", url.Values{"key": {key}, "filename": {"there"}}, nil, nil)
		}},
		{"upload", remote.RoleAppend, func(key string) (int, string) {
			header, body := form("new", "x")
			return w.request("POST", "/upload", url.Values{"key": {key}}, header, body)
		}},
		{"delete", remote.RoleWrite, func(key string) (int, string) {
			return w.request("POST", "/deletefile", url.Values{"key": {key}, "filename": {"new"}}, nil, nil)
		}},
	}
	roles := []remote.Role{remote.RoleRead, remote.RoleAppend, remote.RoleWrite, remote.RoleAdmin}
	for i, role := range roles {
		key, err := w.tokens.Add("of-"+string(role), role)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range do {
			want := 200
			if slices.Index(roles, d.least) > i {
				want = 400
			}
			status, body := d.run(key)
			if status != want || want == 400 && body != "Access denied" {
				t.Errorf("%s as %s: %d %s, want %d", d.what, role, status, body, want)
			}
		}
	}
}

func TestAWrongKeyAHundredTimesIsSlowedDown(t *testing.T) {
	w := serve(t, worldOptions{})
	if status, body := w.upload("there", "x"); status != 200 { // lets this address in
		t.Fatal(status, body)
	}
	slowed := 0
	for range 100 {
		status, body := w.request("GET", "/listallfiles", url.Values{"key": {"guess"}}, nil, nil)
		switch {
		case status == 429 && body == "Too many wrong keys, try again later":
			slowed++
		case status != 400 || body != "Access denied":
			t.Fatal(status, body)
		}
	}
	if slowed < 50 {
		t.Errorf("only %d of 100 guesses were slowed down", slowed)
	}
	if names := w.files(); len(names) != 1 {
		t.Errorf("the right key sees %q", names)
	}
}

func TestWhatIsReplacedOrDeletedCanBeBroughtBack(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2025, 1, 31, 20, 15, 30, 0, time.UTC)
	uploads, err := remote.OpenUploads(dir, func() time.Time { return now }, testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, content string) {
		t.Helper()
		if _, err := uploads.Put(name, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		t.Helper()
		f, err := uploads.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		data, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	put("a", "one")
	put("a", "two") // all within one second
	put("a", "three")
	now = now.Add(time.Hour)
	if err := uploads.Delete("a"); err != nil {
		t.Fatal(err)
	}
	kept, err := uploads.Kept()
	if err != nil {
		t.Fatal(err)
	}
	var at []string
	for _, k := range kept {
		at = append(at, k.Kept)
	}
	if want := []string{"20250131_201530", "20250131_201530_02", "20250131_211530"}; !slices.Equal(at, want) {
		t.Fatalf("kept at %q, want %q", at, want)
	}
	if _, err := uploads.Restore("a", ""); err != nil || read("a") != "three" {
		t.Errorf("the last: %v, %q", err, read("a"))
	}
	if _, err := uploads.Restore("a", "20250131_201530"); err != nil || read("a") != "one" {
		t.Errorf("the first: %v, %q", err, read("a"))
	}
	if _, err := uploads.Restore("b", ""); err == nil {
		t.Error("what never was is restored")
	}
	if err := uploads.Sweep(now); err != nil {
		t.Fatal(err)
	}
	kept, err = uploads.Kept()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		if k.Kept != "20250131_211530" && k.Kept != "20250131_211530_02" {
			t.Errorf("%v is older than the sweep", k)
		}
	}
	if len(kept) != 2 {
		t.Errorf("%d are kept, want the deleted one and the one that the second restore replaced", len(kept))
	}
	if read("a") != "one" {
		t.Error("the sweep changed what is there")
	}
}

func TestNoContentIsLostWhenManyReplaceOneUpload(t *testing.T) {
	dir := t.TempDir()
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for i := range writers {
		uploads, err := remote.OpenUploads(dir, time.Now, testLogger(t)) // each as another process
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for j := range each {
				if _, err := uploads.Put("one", strings.NewReader(fmt.Sprint(i, " ", j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "one" {
			var data []byte
			data, err = os.ReadFile(path)
			seen[string(data)] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != writers*each {
		t.Errorf("%d contents are left of %d", len(seen), writers*each)
	}
}

func TestTenThousandUploadsAreListed(t *testing.T) {
	dir := t.TempDir()
	w := serve(t, worldOptions{dir: dir})
	for i := range 10_000 {
		path := filepath.Join(dir, "uploads", "files", fmt.Sprintf("PC1_file%05d.docx_20250131_201530", i))
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if names := w.files(); len(names) != 10_000 || !slices.IsSorted(names) {
		t.Errorf("%d names", len(names))
	}
}
