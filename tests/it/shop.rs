//! The service of `examples/shop.rs`: whatever fails with whichever resource goes through one error enum.

use crate::articles::{Answer, JSON, Service, built};

#[test]
fn one_error_enum_answers_for_three_resources() {
    let shop = Service::of(&built("shop"), &[]);
    let resources = [
        ("/customers/a", r#"{"name":"ann"}"#),
        ("/products/a", r#"{"price":7}"#),
        ("/orders/a", r#"{"customer":"a","product":"a"}"#),
    ];

    for (path, body) in resources {
        let put = |condition: &str| shop.ask("PUT", path, &[JSON, condition], body);
        let created = put("if-none-match: *");
        assert_eq!(created.status, 201, "{path}: {}", created.body);

        let stale = put("if-match: \"1\"");
        assert_eq!(
            (stale.status, &stale.json()["current"]),
            (412, &serde_json::from_str(body).unwrap()),
            "{path}"
        );
        assert_eq!(stale.header("etag"), created.header("etag"), "{path}");

        let refused = |answer: Answer| (answer.status, answer.json()["reason"].to_string());
        assert_eq!(refused(put("accept: */*")), (428, "\"expectation-required\"".to_owned()));
        assert_eq!(refused(put("if-match: 7")), (400, "\"malformed-precondition\"".to_owned()));
        let odd = shop.ask("PUT", path, &[JSON, "if-match: *"], "{");
        assert_eq!(refused(odd), (400, "\"bad-body\"".to_owned()));
    }
}
