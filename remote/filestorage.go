package remote

import (
	"errors"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

// The File Storage API is the dialect of LocalNetAppChat's server: keys also in
// the query, answers in plain text, 400 for whatever is refused. Its words are
// kept to the letter, since scripts compare them.
const (
	textOK         = "Ok"
	textDenied     = "Access denied"
	textNoFiles    = "There are no files"
	textEmpty      = "File cannot be empty"
	textBadName    = "Invalid filename"
	textNotThere   = "File does not exist!"
	textNoForm     = "There is no form: send multipart/form-data with a file"
	textCutShort   = "The upload ended early"
	textSlowDown   = "Too many wrong keys, try again later"
	textFull       = "No space left on the server"
	textTooLarge   = "The file is too large"
	textTrouble    = "The server has a problem; its log says more"
	storageKeyName = "key"
)

var (
	errEmptyUpload = errors.New("the file is empty")
	errNoForm      = errors.New("no form")
	errNoFile      = errors.New("no file in the form")
)

// storageRoutes adds the File Storage API to what the server answers.
func (s *Server) storageRoutes(mux *http.ServeMux) {
	need := func(role Role, pattern string, fn handlerFunc) {
		mux.Handle(pattern, s.observe(pattern, s.storageAccess(role, fn)))
	}
	need(RoleAppend, "POST /upload", s.storageUpload)
	need(RoleRead, "GET /listallfiles", s.storageList)
	need(RoleRead, "GET /download", s.storageDownload)
	need(RoleWrite, "POST /deletefile", s.storageDelete)
}

// storageAccess is authorized in the other dialect.
func (s *Server) storageAccess(role Role, next handlerFunc) http.HandlerFunc {
	authorized := s.authorized(role, next, s.storageFail)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(headerKey) == "" {
			r.Header.Set(headerKey, r.URL.Query().Get(storageKeyName))
		}
		authorized(w, r)
	}
}

// storageFail answers an error: the one mapping of this dialect.
func (s *Server) storageFail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusBadRequest, ""
	var a *answer
	var tooLarge *http.MaxBytesError
	switch errors.As(err, &a); {
	case a != nil && a.Code == codeSlowDown:
		status, text = http.StatusTooManyRequests, textSlowDown
	case a != nil && (a.Code == codeUnauthorized || a.Code == codeForbidden):
		text = textDenied
	case errors.Is(err, errNoForm):
		text = textNoForm
	case errors.Is(err, errNoFile):
		text = textNoFiles
	case errors.Is(err, errEmptyUpload):
		text = textEmpty
	case errors.Is(err, errUploadName) && !errors.Is(err, fs.ErrNotExist):
		text = textBadName
	case errors.Is(err, fs.ErrNotExist):
		text = textNotThere
	case errors.As(err, &tooLarge):
		status, text = http.StatusRequestEntityTooLarge, textTooLarge
	case isFull(err):
		status, text = http.StatusInsufficientStorage, textFull
		s.log.Error("upload refused", "id", infoOf(r).id, "error", err)
	case a != nil && a.Code == codeInterrupted, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, multipart.ErrMessageTooLarge):
		text = textCutShort
	default:
		status, text = http.StatusInternalServerError, textTrouble
		s.log.Error("request failed", "id", infoOf(r).id, "path", clip(r.URL.Path), "error", err)
	}
	if out, ok := w.(*responseRecorder); ok && out.status != 0 {
		panic(http.ErrAbortHandler) // the answer has begun; cutting it short is all that can be said
	}
	storageText(w, status, text)
}

func storageText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text) // an error shows at the client
}

// storageUpload stores the first file of a form under its name.
func (s *Server) storageUpload(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, s.o.Limits.Object)
	r.Body = struct {
		io.Reader
		io.Closer
	}{newSteadyBody(w, r, s.o.Limits.Stall), r.Body}
	form, err := r.MultipartReader()
	if err != nil {
		return errNoForm
	}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return errNoFile
		}
		if err != nil {
			return err
		}
		name, ok := uploadName(part)
		if !ok {
			continue
		}
		infoOf(r).object = clip(name)
		size, err := s.o.Uploads.Put(name, part)
		if err != nil {
			return err
		}
		s.done(r, "upload", name, size)
		storageText(w, http.StatusOK, textOK)
		return nil
	}
}

// uploadName is the last part of the file name that a part of a form names; ok
// is false when the part is no file.
func uploadName(part *multipart.Part) (name string, ok bool) {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return "", false
	}
	name, ok = params["filename"]
	return name[strings.LastIndexAny(name, `/\`)+1:], ok
}

func (s *Server) storageList(w http.ResponseWriter, _ *http.Request) error {
	list, err := s.o.Uploads.List()
	if err != nil {
		return err
	}
	names := make([]string, len(list))
	for i, f := range list {
		names[i] = f.Name
	}
	return writeJSON(w, names)
}

func (s *Server) storageDownload(w http.ResponseWriter, r *http.Request) error {
	name := r.URL.Query().Get("filename")
	infoOf(r).object = clip(name)
	f, err := s.o.Uploads.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	http.ServeContent(&steadyWriter{ResponseWriter: w, stall: s.o.Limits.Stall}, r, "", info.ModTime(), f)
	return nil
}

func (s *Server) storageDelete(w http.ResponseWriter, r *http.Request) error {
	name := r.URL.Query().Get("filename")
	infoOf(r).object = clip(name)
	if err := s.o.Uploads.Delete(name); err != nil {
		return err
	}
	s.done(r, "delete upload", name, 0)
	storageText(w, http.StatusOK, textOK)
	return nil
}
