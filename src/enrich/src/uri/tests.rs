use super::*;

fn lenient(text: &str) -> String {
    Uri::parse(text).unwrap().as_str().to_owned()
}

#[test]
fn what_is_illegal_is_encoded_part_by_part() {
    assert_eq!(lenient("http://a.b/x|y"), "http://a.b/x%7Cy");
    assert_eq!(lenient("http://a.b/${a}"), "http://a.b/%24%7Ba%7D");
    assert_eq!(lenient("http://a.b/%a b%"), "http://a.b/%25a%20b%25");
    assert_eq!(lenient("http://a.b/?q={x}&r=%41"), "http://a.b/?q=%7Bx%7D&r=A");
    assert_eq!(lenient("//a.b/|#é|"), "//a.b/%7C#%C3%A9%7C");
}

#[test]
fn spaces_are_encoded_and_nothing_else_changes() {
    assert_eq!(lenient("HTTP://User@A.b:80/../x y?a=b c#d"), "HTTP://User@A.b:80/../x%20y?a=b%20c#d");
}

#[test]
fn hosts_follow_the_rules_of_java() {
    let host = |text: &str| Uri::parse(text).unwrap().host().map(str::to_owned);
    assert_eq!(host("http://shop.example/").as_deref(), Some("shop.example"));
    assert_eq!(host("http://u:p@1.2.3.4:99/").as_deref(), Some("1.2.3.4"));
    assert_eq!(host("http://[fe80::1%eth0]/").as_deref(), Some("[fe80::1%eth0]"));
    assert_eq!(host("http://localhost").as_deref(), Some("localhost"));
    assert_eq!(host("http://1abc/").as_deref(), Some("1abc"));
    for nothing in [
        "http://a_b.c/",
        "http://é.b/",
        "http://a..b/",
        "http://-a.b/",
        "http://a-.b/",
        "http://a.1b/",
        "http://1.2.3.4.5/",
        "http://a:b/",
        "mailto:x@y",
        "/path",
    ] {
        assert_eq!(host(nothing), None, "{nothing}");
    }
}

#[test]
fn an_opaque_uri_has_no_path() {
    let uri = Uri::parse("mailto:x@y#z").unwrap();
    assert_eq!(
        (uri.scheme(), uri.path(), uri.query(), uri.fragment(), uri.port()),
        (Some("mailto"), None, None, Some("z"), 80)
    );
}

#[test]
fn ports_default_by_the_exact_scheme() {
    let port = |text: &str| Uri::parse(text).unwrap().port();
    assert_eq!([port("https://a/"), port("HTTPS://a/"), port("ftp://a/"), port("http://a:8080")], [443, 80, 80, 8080]);
}

#[test]
fn an_address_without_authority_is_refused() {
    let error = Uri::parse("http://").unwrap_err();
    assert_eq!(error.strict, "Expected authority at index 7: http://");
    assert!(
        error
            .to_string()
            .starts_with("Provided URI [http://] could not be parsed, neither by Java parsing (error: [Expected")
    );
}

#[test]
fn the_place_of_an_illegal_character_counts_utf16_units() {
    assert_eq!(check_query("e=😀|").unwrap_err(), "Illegal character in query at index 22: http://localhost/?e=😀|");
    assert_eq!(check_query("a=1#b").unwrap(), "a=1");
    assert!(check_query("a#b#c").is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(text in ".{0,40}", ascii in "[a-z0-9:/?#@%\\[\\].|{ &=-]{0,30}") {
        for text in [text, ascii] {
            if let Ok(uri) = Uri::parse(&text) {
                let parts = [uri.scheme(), uri.host(), uri.path(), uri.query(), uri.fragment()];
                proptest::prop_assert!(parts.iter().flatten().all(|part| uri.as_str().contains(part)));
                proptest::prop_assert!(strict::parse(uri.as_str()).is_ok());
            }
            let _legal = check_query(&text);
        }
    }
}
