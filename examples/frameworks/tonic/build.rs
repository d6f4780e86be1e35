//! Makes the server and the client of the service, which stand here instead of a `.proto` file, so that building this needs
//! no `protoc`.

use tonic_build::manual::{Builder, Method, Service};

const METHODS: [(&str, &str, &str, &str); 6] = [
    ("create", "Create", "Named", "Article"),
    ("read", "Read", "Id", "Article"),
    ("replace", "Replace", "Named", "Article"),
    ("change", "Change", "Named", "Article"),
    ("delete", "Delete", "Id", "Nothing"),
    ("list", "List", "Nothing", "Ids"),
];

fn main() {
    let mut articles = Service::builder().name("Articles").package("articles");
    for (name, route, input, output) in METHODS {
        let method = Method::builder()
            .name(name)
            .route_name(route)
            .input_type(format!("crate::{input}"))
            .output_type(format!("crate::{output}"))
            .codec_path("tonic_prost::ProstCodec");
        articles = articles.method(method.build());
    }
    Builder::new().compile(&[articles.build()]);
}
