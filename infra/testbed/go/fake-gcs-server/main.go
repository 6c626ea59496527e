// fake-gcs-server with the part of the XML API that obstore writes by: objects with a condition, and uploads in parts.
// The server itself has those writes in the JSON API only, so that they are passed on to it; it decides who wins.
package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

type server struct {
	objects http.Handler
	lock    sync.Mutex
	uploads map[string]map[int][]byte
	made    int
}

func main() {
	address := flag.String("address", "127.0.0.1:4443", "where to listen")
	bucket := flag.String("bucket", "tidegate", "a bucket that is there from the start")
	flag.Parse()
	host := strings.Split(*address, ":")[0]
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: host})
	if err != nil {
		log.Fatal(err)
	}
	fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: *bucket})
	log.Fatal(http.ListenAndServe(*address, &server{objects: fake.HTTPHandler(), uploads: map[string]map[int][]byte{}}))
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, name, whole := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	switch {
	case strings.HasPrefix(r.URL.Path, "/storage/"), strings.HasPrefix(r.URL.Path, "/upload/"):
		s.objects.ServeHTTP(w, r)
	case !s.has(bucket):
		fail(w, http.StatusNotFound, "NoSuchBucket")
	case !whole || name == "":
		s.objects.ServeHTTP(w, r)
	case r.Method == http.MethodPut && query.Has("partNumber"):
		s.part(w, r, query)
	case r.Method == http.MethodPost && query.Has("uploads"):
		s.begin(w)
	case r.Method == http.MethodPost && query.Has("uploadId"):
		s.complete(w, r, bucket, name, query.Get("uploadId"))
	case r.Method == http.MethodDelete && query.Has("uploadId"):
		s.lock.Lock()
		delete(s.uploads, query.Get("uploadId"))
		s.lock.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		content, err := io.ReadAll(r.Body)
		if err != nil {
			fail(w, http.StatusBadRequest, "IncompleteBody")
			return
		}
		if etag := s.write(w, r.Header, bucket, name, content); etag != "" {
			w.WriteHeader(http.StatusOK)
		}
	default:
		s.objects.ServeHTTP(w, r)
	}
}

func (s *server) has(bucket string) bool {
	answer := s.ask(http.MethodGet, "/storage/v1/b/"+url.PathEscape(bucket), nil, nil)
	return answer.Code == http.StatusOK
}

// ask sends a request to the server itself.
func (s *server) ask(method, path string, header http.Header, content []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, bytes.NewReader(content))
	for name, values := range header {
		if strings.HasPrefix(name, "X-Goog-Meta-") || name == "Content-Type" {
			request.Header[name] = values
		}
	}
	answer := httptest.NewRecorder()
	s.objects.ServeHTTP(answer, request)
	return answer
}

// write stores an object under the request's condition and sets the headers of the answer; "" when it was refused.
func (s *server) write(w http.ResponseWriter, header http.Header, bucket, name string, content []byte) string {
	query := url.Values{"uploadType": {"media"}, "name": {name}}
	if condition := header.Get("X-Goog-If-Generation-Match"); condition != "" {
		query.Set("ifGenerationMatch", condition)
	}
	path := fmt.Sprintf("/upload/storage/v1/b/%s/o?%s", url.PathEscape(bucket), query.Encode())
	answer := s.ask(http.MethodPost, path, header, content)
	if answer.Code == http.StatusPreconditionFailed {
		fail(w, answer.Code, "PreconditionFailed")
		return ""
	}
	var stored struct{ Etag, Generation string }
	if err := json.Unmarshal(answer.Body.Bytes(), &stored); answer.Code != http.StatusOK || err != nil {
		fail(w, http.StatusInternalServerError, "InternalError")
		return ""
	}
	w.Header().Set("ETag", strconv.Quote(stored.Etag))
	w.Header().Set("X-Goog-Generation", stored.Generation)
	return stored.Etag
}

func (s *server) begin(w http.ResponseWriter) {
	s.lock.Lock()
	s.made++
	id := fmt.Sprintf("upload-%d", s.made)
	s.uploads[id] = map[int][]byte{}
	s.lock.Unlock()
	fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
}

func (s *server) part(w http.ResponseWriter, r *http.Request, query url.Values) {
	content, err := io.ReadAll(r.Body)
	number, wrong := strconv.Atoi(query.Get("partNumber"))
	s.lock.Lock()
	defer s.lock.Unlock()
	parts := s.uploads[query.Get("uploadId")]
	if err != nil || wrong != nil || parts == nil {
		fail(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	parts[number] = content
	w.Header().Set("ETag", fmt.Sprintf("\"%d-%d\"", number, len(content)))
}

func (s *server) complete(w http.ResponseWriter, r *http.Request, bucket, name, id string) {
	s.lock.Lock()
	parts := s.uploads[id]
	delete(s.uploads, id)
	s.lock.Unlock()
	if parts == nil {
		fail(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	var named struct {
		Part []struct{ PartNumber int }
	}
	if err := xml.NewDecoder(r.Body).Decode(&named); err != nil {
		fail(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	sort.Slice(named.Part, func(a, b int) bool { return named.Part[a].PartNumber < named.Part[b].PartNumber })
	var content []byte
	for _, one := range named.Part {
		content = append(content, parts[one.PartNumber]...)
	}
	if etag := s.write(w, r.Header, bucket, name, content); etag != "" {
		fmt.Fprintf(w, "<CompleteMultipartUploadResult><ETag>%s</ETag></CompleteMultipartUploadResult>", etag)
	}
}

func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code></Error>", code)
}
