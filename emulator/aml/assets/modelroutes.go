package assets

import (
	"net/http"

	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/aml/plane"
)

// registerModels adds the routes of model management that are about assets and models.
func (s *Service) registerModels(m *plane.Mux) {
	mms.Handle(m, http.MethodPost, "/assets", s.createAsset)
	mms.Handle(m, http.MethodGet, "/assets", s.listAssets)
	mms.Handle(m, http.MethodGet, "/assets/{id}", s.getAsset)
	mms.Handle(m, http.MethodPatch, "/assets/{id}", s.patchAsset)
	mms.Handle(m, http.MethodDelete, "/assets/{id}", s.deleteAsset)
	mms.Handle(m, http.MethodPost, "/models", s.createModel)
	mms.Handle(m, http.MethodGet, "/models", s.listModels)
	mms.Handle(m, http.MethodGet, "/models/{id}", s.getModel)
	mms.Handle(m, http.MethodPatch, "/models/{id}", s.patchModel)
	mms.Handle(m, http.MethodDelete, "/models/{id}", s.deleteModel)
}
