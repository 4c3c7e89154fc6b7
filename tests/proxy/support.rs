//! An engine of raw bytes, a sidecar in front of it, and clients of raw bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{PATIENCE, Place, Sidecar, eventually};

/// One connection to an engine, whose heads are read and whose bodies are the handler's.
pub struct Connection {
    pub reader: BufReader<TcpStream>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Connection {
    /// The next head, as it came; `None`: the other side closed.
    pub fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        loop {
            let before = head.len();
            match self.reader.read_line(&mut head) {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            if &head[before..] == "\r\n" {
                self.heads.lock().unwrap().push(head.clone());
                return Some(head);
            }
        }
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        // A client that went is what some tests are about.
        drop(self.reader.get_mut().write_all(bytes.as_ref()));
    }

    /// So many bytes of a body.
    pub fn body(&mut self, bytes: usize) -> Vec<u8> {
        let mut body = vec![0; bytes];
        self.reader.read_exact(&mut body).unwrap();
        body
    }

    /// Waits until the other side closes.
    pub fn closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.reader.get_mut().set_read_timeout(Some(PATIENCE)).unwrap();
        self.reader.read_to_end(&mut rest).is_ok() || !rest.is_empty()
    }

    pub fn answer(&mut self, body: &str) {
        self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }
}

/// An engine that answers each connection with a handler, on a thread of its own.
pub struct Engine {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Engine {
    pub fn start(handle: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), handle)
    }

    pub fn on(listener: TcpListener, handle: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (kept, handle) = (heads.clone(), Arc::new(handle));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_nodelay(true).unwrap();
                let (heads, handle) = (kept.clone(), handle.clone());
                let mut connection = Connection { reader: BufReader::new(stream), heads };
                std::thread::spawn(move || handle(&mut connection));
            }
        });
        Self { address, heads }
    }

    /// Answers every request with its own head, as it came.
    pub fn echo() -> Self {
        Self::start(|connection| {
            while let Some(head) = connection.head() {
                connection.answer(&head);
            }
        })
    }

    /// The heads that came, in order.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// A sidecar in front of an engine.
pub struct Front {
    pub sidecar: Sidecar,
    pub place: Place,
}

impl Front {
    pub fn of(engine: SocketAddr) -> Self {
        Self::with(engine, &[])
    }

    pub fn with(engine: SocketAddr, arguments: &[&str]) -> Self {
        let place = Place::new();
        let url = format!("http://{engine}");
        let arguments: Vec<&str> = ["--upstream", &url].into_iter().chain(arguments.iter().copied()).collect();
        Self { sidecar: Sidecar::start(&place, &arguments), place }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.sidecar.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these bytes, closes the sending side where `end`, and reads until the other side closes.
    pub fn exchange(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        assert!(read.is_ok() || !answer.is_empty(), "{read:?}");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The body of an answer to a request without one of its own, on a connection of its own.
    pub fn get(&self, target: &str) -> String {
        self.exchange(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    pub fn metrics(&self) -> String {
        self.sidecar.get("/stepscope/v1/metrics").body
    }

    /// Waits until a metric has this value.
    pub fn counts(&self, name: &str, value: u64) {
        let line = format!("{name} {value}\n");
        let mut last = String::new();
        eventually(&format!("{line:?} in {last}"), || {
            last = self.metrics();
            last.contains(&line).then_some(())
        });
    }
}

/// Reads until `wanted` is there.
pub fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0; 1];
    while !seen.ends_with(wanted.as_bytes()) {
        let count = stream.read(&mut byte).unwrap();
        assert_eq!(count, 1, "ended with {:?}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    String::from_utf8(seen).unwrap()
}

/// Whether the other side closes, whatever comes before.
pub fn ends(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => rest,
        Err(error) => panic!("it was not closed: {error}"),
    }
}

/// Closes at once, with a reset.
pub fn hang_up(stream: TcpStream) {
    stream.shutdown(Shutdown::Both).unwrap();
}
