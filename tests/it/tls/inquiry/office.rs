//! Where the certificates of a test say that one may ask about them: revocation lists, and OCSP as OpenSSL answers it.

use crate::harness::Home;
use crate::tls::certificates::{Authority, Pair};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, CustomExtension,
    ExtendedKeyUsagePurpose, KeyIdMethod, RevokedCertParams, date_time_ymd,
};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// What is answered to a body: status and body; none keeps the client waiting.
type Answer = Box<dyn Fn(&[u8]) -> Option<(u16, Vec<u8>)> + Send>;

/// A server of plain HTTP on a port of its own.
pub(super) struct Office {
    pub(super) url: String,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Office {
    pub(super) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let office = Self { url, answers: Arc::default(), asked: Arc::default() };
        let (answers, asked) = (Arc::clone(&office.answers), Arc::clone(&office.asked));
        // ends with the process of the tests
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                std::thread::spawn(move || serve(&stream, &answers, &asked));
            }
        });
        office
    }

    /// Answers under a path from now on.
    pub(super) fn answer(
        &self,
        path: &str,
        answer: impl Fn(&[u8]) -> Option<(u16, Vec<u8>)> + Send + 'static,
    ) {
        self.answers.lock().unwrap().insert(path.to_owned(), Box::new(answer));
    }

    /// The same with a document.
    pub(super) fn serve(&self, path: &str, status: u16, document: Vec<u8>) {
        self.answer(path, move |_| Some((status, document.clone())));
    }

    /// How often a path was asked for.
    pub(super) fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }
}

fn serve(
    mut stream: &TcpStream,
    answers: &Mutex<HashMap<String, Answer>>,
    asked: &Mutex<Vec<String>>,
) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let head = head.to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    asked.lock().unwrap().push(path.clone());
    let answer = answers.lock().unwrap().get(&path).map_or(Some((404, vec![])), |own| own(&body));
    match answer {
        Some((status, body)) => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} x\r\nLocation: /good\r\nContent-Length: {length}\r\n\r\n"
            );
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
        None => {
            let _ = reader.read(&mut [0]);
        }
    }
}

/// A list of an authority: what is revoked, and until when it is in force, in seconds from now.
pub(super) fn list(authority: &Authority, revoked: &[u64], seconds: i64) -> Vec<u8> {
    dated_list(authority, revoked, (-400 * 86_400, seconds))
}

/// The same with the time from which on it is the newest.
pub(super) fn dated_list(
    authority: &Authority,
    revoked: &[u64],
    (begin, end): (i64, i64),
) -> Vec<u8> {
    let time = |seconds: i64| {
        let (now, time) = (SystemTime::now(), Duration::from_secs(seconds.unsigned_abs()));
        if seconds < 0 { now - time } else { now + time }
    };
    let revoked = revoked.iter().map(|number| RevokedCertParams {
        serial_number: (*number).into(),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: time(begin).into(),
        next_update: time(end).into(),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&authority.issuer).unwrap().der().to_vec()
}

/// Lets a certificate say where lists are.
pub(super) fn with_list(params: &mut CertificateParams, url: &str) {
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![url.to_owned()] }];
}

/// Lets a certificate say who answers OCSP (RFC 5280 §4.2.2.1).
pub(super) fn with_ocsp(params: &mut CertificateParams, url: &str) {
    let tlv = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 0x80);
        [&[tag, length], content].concat()
    };
    let method = tlv(6, &[0x2b, 6, 1, 5, 5, 7, 0x30, 1]);
    let description = tlv(0x30, &[method, tlv(0x86, url.as_bytes())].concat());
    let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
    let access = CustomExtension::from_oid_content(&oid, tlv(0x30, &description));
    params.custom_extensions.push(access);
}

/// A certificate of an authority to answer in its place, with this use.
pub(super) fn delegate(authority: &Authority, usage: ExtendedKeyUsagePurpose) -> Pair {
    authority.client_with("responder", |params| params.extended_key_usages = vec![usage])
}

/// OpenSSL's answers about the certificates of an authority, signed by `signer`.
#[derive(Clone)]
pub(super) struct OpenSsl {
    home: Arc<Home>,
    name: &'static str,
    arguments: &'static [&'static str],
}

impl OpenSsl {
    /// `good` and `revoked` are numbers of certificates; of others nothing is known. The arguments may say for how long answers are
    /// in force.
    pub(super) fn new(
        home: &Arc<Home>,
        name: &'static str,
        authority: &Authority,
        signer: &Pair,
        (good, revoked): (&[u64], &[u64]),
        arguments: &'static [&'static str],
    ) -> Self {
        let mut index = String::new();
        for number in good {
            writeln!(index, "V\t401231235959Z\t\t{number:02X}\tunknown\t/CN={number}").unwrap();
        }
        for number in revoked {
            writeln!(index, "R\t401231235959Z\t240101000000Z\t{number:02X}\tunknown\t/CN={number}")
                .unwrap();
        }
        home.write(&format!("{name}/index"), index);
        home.write(&format!("{name}/ca.pem"), &authority.pem);
        home.write(&format!("{name}/signer.pem"), &signer.certificate);
        home.write(&format!("{name}/signer.key"), &signer.key);
        Self { home: Arc::clone(home), name, arguments }
    }

    /// The answer to a question.
    pub(super) fn answer(&self, question: &[u8]) -> Vec<u8> {
        let file = |name: &str| self.home.path(&format!("{}/{name}", self.name));
        self.home.write(&format!("{}/question", self.name), question);
        let files = [
            ("-index", "index"),
            ("-CA", "ca.pem"),
            ("-rsigner", "signer.pem"),
            ("-rkey", "signer.key"),
            ("-reqin", "question"),
            ("-respout", "answer"),
        ];
        let mut openssl = Command::new("openssl");
        openssl.arg("ocsp").args(self.arguments);
        for (option, name) in files {
            openssl.arg(option).arg(file(name));
        }
        let output = openssl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        std::fs::read(file("answer")).unwrap()
    }
}
