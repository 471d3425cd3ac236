//! Cipher suites in OpenSSL's words. Only suites with forward secrecy and authenticated encryption exist here: those of TLS 1.3
//! and the recommended ones of TLS 1.2 (RFC 9325 §4.2).

/// A cipher suite, by its number in the registry of TLS (RFC 8447 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CipherSuite(pub u16);

impl CipherSuite {
    /// Whether it is of TLS 1.3.
    #[must_use]
    pub fn is_tls13(self) -> bool {
        self.0 >> 8 == 0x13
    }
}

/// Number, OpenSSL's name, the registry's name.
const SUITES: [(u16, &str, &str); 9] = [
    (0x1302, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    (0x1301, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
    (0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xc030, "ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xc02f, "ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xcca8, "ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Words of OpenSSL that mean every suite there is here.
const EVERYTHING: [&str; 4] = ["DEFAULT", "HIGH", "ALL", "SECURE"];

/// A list that was read.
pub(crate) struct Parsed {
    /// The suites, in the order written.
    pub(crate) suites: Vec<CipherSuite>,
    /// Words that name none.
    pub(crate) unknown: Vec<String>,
}

/// Reads a list separated by `:`, `,` or spaces; `!X` and `-X` take the suites away whose name has the part `X`.
pub(crate) fn parse(list: &str) -> Parsed {
    let mut parsed = Parsed { suites: Vec::new(), unknown: Vec::new() };
    let mut removed = Vec::new();
    for word in list.split([':', ',', ' ']).map(str::trim).filter(|word| !word.is_empty()) {
        if let Some(part) = word.strip_prefix(['!', '-']) {
            removed.push(part);
            continue;
        }
        let before = parsed.suites.len();
        let is_everything = EVERYTHING.iter().any(|all| word.eq_ignore_ascii_case(all));
        let named = SUITES.iter().filter(|(_, openssl, name)| {
            is_everything || word.eq_ignore_ascii_case(openssl) || word.eq_ignore_ascii_case(name)
        });
        parsed.suites.extend(named.map(|(number, _, _)| CipherSuite(*number)));
        if parsed.suites.len() == before {
            parsed.unknown.push(word.to_owned());
        }
    }
    let is_removed = |suite: &CipherSuite| {
        let names = SUITES.iter().find(|(number, _, _)| *number == suite.0);
        let parts = |name: &str, part: &str| {
            name.eq_ignore_ascii_case(part)
                || name.split(['-', '_']).any(|word| word.eq_ignore_ascii_case(part))
        };
        names.is_some_and(|(_, openssl, name)| {
            removed.iter().any(|part| parts(openssl, part) || parts(name, part))
        })
    };
    parsed.suites.retain(|suite| !is_removed(suite));
    let mut seen = Vec::new();
    parsed.suites.retain(|suite| !seen.contains(suite) && (seen.push(*suite), true).1);
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(list: &str) -> Vec<u16> {
        parse(list).suites.iter().map(|suite| suite.0).collect()
    }

    #[test]
    fn names_of_both_kinds_in_the_order_written() {
        assert_eq!(
            numbers(
                "ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256:tls_ecdhe_rsa_with_aes_256_gcm_sha384"
            ),
            [0xc02f, 0x1301, 0xc030]
        );
        assert_eq!(numbers("HIGH:!aNULL:!ECDSA:!CHACHA20"), [0x1302, 0x1301, 0xc030, 0xc02f]);
        assert_eq!(numbers("DEFAULT:TLS_AES_128_GCM_SHA256").len(), 9, "each once");
    }

    #[test]
    fn words_without_a_suite_are_told() {
        let parsed = parse("AES128-SHA:ECDHE-RSA-AES128-SHA:@SECLEVEL=0");
        assert_eq!(parsed.unknown, ["AES128-SHA", "ECDHE-RSA-AES128-SHA", "@SECLEVEL=0"]);
        assert!(parsed.suites.is_empty());
    }
}
