use super::*;

#[test]
fn only_the_content_types_of_grpc_with_protobuf_are_accepted() {
    for good in
        ["application/grpc", "application/grpc+proto", "Application/gRPC", "application/grpc; charset=utf-8"]
    {
        assert!(is_grpc(good.as_bytes()), "{good}");
    }
    for bad in [
        "",
        ";",
        "text/plain",
        "application/json",
        "application/grpc+json",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpcx",
        "text/plain; application/grpc",
    ] {
        assert!(!is_grpc(bad.as_bytes()), "{bad}");
    }
}
