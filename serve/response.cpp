#include "serve/response.h"

#include "serve/door.h"

namespace chronovisor::serve {
namespace {

std::string_view reason_of(unsigned status) {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 503:
      return "Service Unavailable";
    default:
      return "Error";
  }
}

/// What a page of ours may do: nothing but with us. Some browsers do not take a WebSocket
/// of the same host for the same origin.
std::string policy(std::string_view host) {
  std::string socket;
  if (is_own_host(host)) socket = " ws://" + std::string(host);
  return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
         "font-src 'self'; connect-src 'self'" +
         socket + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
}

}  // namespace

Response refused(unsigned status, const std::string& why) {
  Response response;
  response.status = status;
  response.body = why + "\n";
  response.refusal = why;
  return response;
}

std::string text_of(const Response& response, std::string_view host, BodyPart body,
                    Afterwards afterwards) {
  std::string text =
      "HTTP/1.1 " + std::to_string(response.status) + " " + std::string(reason_of(response.status));
  const auto add = [&](std::string_view name, std::string_view value) {
    text += "\r\n";
    text += name;
    text += ": ";
    text += value;
  };
  if (response.status != 204) {
    add("Content-Type", response.type);
    add("Content-Length", std::to_string(response.body.size()));
  }
  add("Content-Security-Policy", policy(host));
  add("X-Content-Type-Options", "nosniff");
  add("X-Frame-Options", "DENY");
  add("Referrer-Policy", "no-referrer");
  add("Cross-Origin-Resource-Policy", "same-origin");
  add("Cross-Origin-Opener-Policy", "same-origin");
  add("Cache-Control", "no-store");
  add("Connection", afterwards == Afterwards::stays ? "keep-alive" : "close");
  for (const auto& [name, value] : response.headers) add(name, value);
  text += "\r\n\r\n";
  if (body == BodyPart::sent) text += response.body;
  return text;
}

}  // namespace chronovisor::serve
