#include "serve/agent_sessions.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "serve/door.h"

namespace chronovisor::serve {
namespace {

Response json_response(std::string body) {
  Response response;
  response.type = "application/json";
  response.body = std::move(body);
  return response;
}

/// Nothing is to be said.
Response taken() {
  Response response;
  response.status = 202;
  return response;
}

bool takes_json(const std::string& accept) {
  return accept.empty() || accept.find("application/json") != std::string::npos ||
         accept.find("*/*") != std::string::npos;
}

}  // namespace

/// A conversation, and those who wait for an answer of it.
struct AgentSessions::Session {
  /// By the id of the question, as JSON. Filled by one thread, emptied by any.
  struct Waiting {
    std::mutex mutex;
    std::map<std::string, Answer> answers;

    bool add(const std::string& id, const Answer& answer) {
      const std::lock_guard lock(mutex);
      return answers.emplace(id, answer).second;
    }
    /// Nothing when nobody waits for it.
    Answer take(const std::string& id) {
      const std::lock_guard lock(mutex);
      const auto found = answers.find(id);
      if (found == answers.end()) return {};
      Answer answer = std::move(found->second);
      answers.erase(found);
      return answer;
    }
    void give(const std::string& message) {
      const api::Value value = api::parse_json(message, api::ParseLimits::none());
      const api::Value* id = value.member("id");
      if (id == nullptr) return;  // progress, for which no stream is open
      if (const Answer answer = take(id->json())) answer(json_response(message));
    }
    void give_up() {
      std::map<std::string, Answer> all;
      {
        const std::lock_guard lock(mutex);
        all.swap(answers);
      }
      for (const auto& [id, answer] : all) answer(refused(404, "this conversation has ended"));
    }
  };

  std::string id;
  std::shared_ptr<Waiting> waiting = std::make_shared<Waiting>();
  std::unique_ptr<api::Client> client;
};

AgentSessions::AgentSessions(api::Greet greet) : greet_(std::move(greet)) {}
AgentSessions::~AgentSessions() = default;

std::shared_ptr<AgentSessions::Session> AgentSessions::begin() {
  if (sessions_.size() >= api::kMostAgents) end(sessions_.front());
  auto session = std::make_shared<Session>();
  session->id = new_token();
  session->client =
      greet_([waiting = session->waiting](const std::string& message) { waiting->give(message); });
  sessions_.push_back(session);
  return session;
}

void AgentSessions::end(const std::shared_ptr<Session>& session) {
  session->client->cancel_all();
  session->waiting->give_up();
  leaving_.push_back(session);
  std::erase(sessions_, session);
}

void AgentSessions::sweep() {
  std::erase_if(leaving_, [](const auto& session) { return session->client->idle(); });
}

void AgentSessions::cancel_all() {
  while (!sessions_.empty()) end(sessions_.back());
}

void AgentSessions::receive(const Request& request, Answer answer) {
  if (request.method == "POST") return post(request, answer);
  const auto found = std::find_if(sessions_.begin(), sessions_.end(), [&](const auto& session) {
    return same_secret(request.agent_session, session->id);
  });
  if (found == sessions_.end()) return answer(refused(404, "there is no such conversation"));
  end(*found);
  Response gone;
  gone.status = 204;
  answer(std::move(gone));
}

void AgentSessions::post(const Request& request, const Answer& answer) {
  if (!takes_json(request.accept)) return answer(refused(406, "answers are application/json"));
  api::Message message;
  try {
    message = api::decode_message(request.body);
  } catch (const api::CallError& error) {
    Response response = json_response(api::error_message({}, error).json());
    response.status = 400;
    return answer(std::move(response));
  }
  if (message.batch) return answer(refused(400, "messages are sent one by one"));
  const api::Incoming& incoming = message.requests.front();
  const bool begins = incoming.method == "initialize" && !incoming.notification;
  std::shared_ptr<Session> session;
  if (begins) {
    session = begin();
  } else if (request.agent_session.empty()) {
    return answer(refused(400, "a conversation begins with initialize"));
  } else {
    const auto found = std::find_if(sessions_.begin(), sessions_.end(), [&](const auto& one) {
      return same_secret(request.agent_session, one->id);
    });
    if (found == sessions_.end()) return answer(refused(404, "there is no such conversation"));
    session = *found;
    std::rotate(found, found + 1, sessions_.end());
  }
  if (incoming.notification && !incoming.trouble) {
    session->client->receive(request.body);
    // What is cancelled gets no answer of the protocol's, but whoever waits for HTTP's does.
    const api::Value* cancelled = incoming.parameters.member("requestId");
    if (incoming.method == "notifications/cancelled" && cancelled != nullptr) {
      if (const Answer waits = session->waiting->take(cancelled->json())) waits(taken());
    }
    return answer(taken());
  }
  const Answer with_id = !begins ? answer : [answer, id = session->id](Response response) {
    response.headers.emplace_back("Mcp-Session-Id", id);
    answer(std::move(response));
  };
  if (!session->waiting->add(incoming.id.json(), with_id)) {
    return answer(refused(400, "a message with this id is waiting already"));
  }
  session->client->receive(request.body);
}

}  // namespace chronovisor::serve
