use super::check;

const GOOD: &[&str] = &[
    "https://example.com",
    "https://EXAMPLE.com/",
    "https://example.com:8443/hooks?key=1&b=%20",
    "https://a.b-c.d_e.co.uk/x/../y",
    "https://xn--bcher-kva.example.org/",
    "https://example.com?x",
    "https://8.8.8.8/",
    "https://1.1.1.1:443",
    "https://172.15.0.1",
    "https://172.32.0.1",
    "https://100.128.0.1",
    "https://[2606:4700:4700::1111]/",
    "https://[2606:4700:4700::1111]:8443",
    "https://[2001:4860:4860::8888]",
    "https://localhost.example.com/",
    "https://10.example.com/",
    "https://127.0.0.1.example.com/",
];

/// Never good, not even in development.
const NEVER: &[&str] = &[
    // No URL of ours.
    "",
    "https://",
    "https:///",
    "https:example.com",
    "https:/example.com",
    "//example.com",
    "example.com",
    "HTTPS://example.com",
    "ftp://example.com",
    "file:///etc/passwd",
    "javascript:1",
    "data:text/plain,x",
    "gopher://example.com",
    "ws://example.com",
    " https://example.com",
    "https://example.com ",
    "https://exa mple.com",
    "https://example.com/\n",
    "https://example.com/\r\nhost: x",
    "https://example.com\t",
    "https://example.com/\0",
    "https://example.com/#a",
    "https://exämple.com",
    "https:\\\\example.com",
    "https://example.com\\@127.0.0.1",
    "https://example.com\\.internal",
    // Somebody before the host, or something in it.
    "https://user@example.com",
    "https://user:pass@example.com",
    "https://example.com@127.0.0.1",
    "https://example.com:80@127.0.0.1/",
    "https://127.0.0.1%2f.example.com",
    "https://%6c%6f%63%61%6c%68%6f%73%74",
    "https://example%2ecom",
    "https://@example.com",
    "https://example.com:",
    "https://example.com:0",
    "https://example.com:065",
    "https://example.com:65536",
    "https://example.com:-1",
    "https://example.com:80:80",
    "https://example.com:x",
    "https://example..com",
    "https://.example.com",
    "https://example.com.",
    "https://-a.com",
    "https://a-.com",
    "https://a,b.com",
    "https://a*.com",
    "https://(a).com",
    "https://ⓔxample.com",
    "https://example。com",
    // Names.
    "https://foo",
    "https://metadata",
    "https://kubernetes",
    "https://a.localhost",
    "https://a.LOCALHOST",
    "https://printer.local",
    "https://metadata.google.internal/computeMetadata/v1/",
    "https://vault.INTERNAL",
    "https://a.home.arpa",
    "https://router.lan",
    "https://a.corp",
    "https://a.intranet",
    "https://a.localdomain",
    "https://x.onion",
    "https://a.test",
    "https://localhost.",
    "https://a.internal.",
    // IPv4.
    "https://0.0.0.0",
    "https://0.1.2.3",
    "https://10.0.0.1",
    "https://10.255.255.255",
    "https://100.64.0.1",
    "https://100.100.100.200",
    "https://100.127.255.255",
    "https://127.0.0.2",
    "https://127.255.255.254",
    "https://169.254.169.254/latest/meta-data",
    "https://169.254.0.1",
    "https://172.16.0.1",
    "https://172.31.255.255",
    "https://192.0.0.192",
    "https://192.168.0.1",
    "https://192.168.255.255",
    "https://198.18.0.1",
    "https://198.19.0.1",
    "https://224.0.0.1",
    "https://240.0.0.1",
    "https://255.255.255.255",
    "https://168.63.129.16",
    // Other spellings of IPv4.
    "https://2130706433",
    "https://0x7f000001",
    "https://0X7F000001",
    "https://017700000001",
    "https://127.1",
    "https://127.0.1",
    "https://0177.0.0.1",
    "https://0x7f.0.0.1",
    "https://127.0.0.0x1",
    "https://127.0.0.01",
    "https://127.0.0.1.",
    "https://3232235521",
    "https://1.2.3.4.5",
    "https://256.1.1.1",
    "https://8.8",
    // IPv6.
    "https://[::]",
    "https://[::ffff:127.0.0.1]",
    "https://[::ffff:7f00:1]",
    "https://[::ffff:8.8.8.8]",
    "https://[::127.0.0.1]",
    "https://[fe80::1]",
    "https://[fe80::1%25eth0]",
    "https://[fc00::1]",
    "https://[fd00:ec2::254]",
    "https://[ff02::1]",
    "https://[64:ff9b::7f00:1]",
    "https://[2002:7f00:1::]",
    "https://[2001::1]",
    "https://[2001:db8::1]",
];

#[test]
fn the_public_internet_by_https_and_nothing_else() {
    for &url in GOOD {
        assert_eq!(check(url, false), Ok(()), "{url}");
        assert_eq!(check(url, true), Ok(()), "{url}");
        assert!(check(&url.replacen("https", "http", 1), false).is_err(), "{url}");
        assert!(check(&url.replacen("https", "http", 1), true).is_err(), "{url}");
    }
    for &url in NEVER {
        let http = url.replacen("https", "http", 1);
        for (url, development) in [(url, false), (url, true), (&http, false), (&http, true)] {
            assert!(check(url, development).is_err(), "{url}, development: {development}");
        }
    }
    for url in [
        "https://[3fff::1]",
        "https://[::1",
        "https://::1",
        "https://[::1]x",
        "https://[]",
        "https://[1.2.3.4]",
        "https://[2606:4700::1]:0",
    ] {
        assert!(check(url, false).is_err() && check(url, true).is_err(), "{url}");
    }
    assert!(check(&format!("https://example.com/{}", "x".repeat(1004)), false).is_ok());
    assert!(check(&format!("https://example.com/{}", "x".repeat(1005)), false).is_err());
    assert!(check(&format!("https://{}.com/", "x".repeat(64)), false).is_err());
}

#[test]
fn this_machine_in_development_only() {
    for url in [
        "http://127.0.0.1:8080/hook",
        "http://127.0.0.1",
        "http://localhost:3000/",
        "https://LOCALHOST/",
        "http://[::1]:8080/",
        "https://127.0.0.1/",
    ] {
        assert_eq!(check(url, true), Ok(()), "{url}");
        assert!(check(url, false).is_err(), "{url}");
    }
}
