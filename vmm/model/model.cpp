#include "vmm/model/model.h"

namespace chronovisor {

const std::vector<const Model*>& all_models() {
  static const std::vector<const Model*> models{&pc1(), &pc2()};
  return models;
}

const Model* find_model(std::string_view name) {
  for (const Model* model : all_models()) {
    if (model->name == name) return model;
  }
  return nullptr;
}

}  // namespace chronovisor
