#!/usr/bin/env bash
# Makes the certificates beside it, for tests alone: an authority of its own, what it signed for localhost and 127.0.0.1 (twice:
# the second takes the first one's place), and what it signed for another name. They hold for a hundred years.
set -euo pipefail
cd "$(dirname "$0")"
days=36500
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days $days -subj "/CN=stepscope test authority" \
  -addext "basicConstraints=critical,CA:TRUE" -keyout authority.key -out authority.pem
signed() { # NAME SUBJECT_ALT_NAMES
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA authority.pem -CAkey authority.key -CAcreateserial -days $days -out "$1.pem" \
    -extfile <(printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' "$2")
  rm "$1.csr"
}
signed first DNS:localhost,IP:127.0.0.1
signed second DNS:localhost,IP:127.0.0.1
signed elsewhere DNS:elsewhere.example
rm -f authority.key authority.srl
