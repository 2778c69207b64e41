package serving

import (
	"net/http"
	"strings"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// keys is AuthKeys of modelManagement.json, 2019-08-01.
type keys struct {
	Primary   string `json:"primaryKey"`
	Secondary string `json:"secondaryKey"`
}

func (s *Service) listKeys(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	v, _, err := s.find(r.Context(), c)
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, v.Keys)
	return nil
}

// regenerateKeys makes one key anew, or sets it; a service that checks keys is deployed again with it.
func (s *Service) regenerateKeys(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var in struct {
		KeyType  string `json:"keyType"`
		KeyValue string `json:"keyValue"`
	}
	if err := mms.ReadPayload(w, r, &in); err != nil {
		return err
	}
	value := in.KeyValue
	if value == "" {
		var err error
		if value, err = s.newKey(); err != nil {
			return err
		}
	}
	op, err := s.change(r.Context(), c, func(v *service) error {
		switch {
		case strings.EqualFold(in.KeyType, "Primary"):
			v.Keys.Primary = value
		case strings.EqualFold(in.KeyType, "Secondary"):
			v.Keys.Secondary = value
		default:
			return mms.Fault(http.StatusBadRequest, "InvalidKeyType", "keyType", "The key type '%s' is not one of Primary and Secondary.", in.KeyType)
		}
		if v.AuthEnabled {
			v.Generation = uuid.NewString()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return accepted(w, c, op, nil)
}

// busy is the refusal of a change while another is under way.
func busy(v service) error {
	if v.State == transitioning {
		return mms.Fault(http.StatusConflict, "ServiceInTransition", "", "The service '%s' is in transition: wait until its deployment has ended.", v.Name)
	}
	return nil
}

// redeploy is the write of a changed service with the operation that deploys it.
func redeploy(v *service, op operation, rev int64) ([]store.Op, error) {
	v.State, v.OperationID = transitioning, op.ID
	order, err := store.PutOp(op.key(), op, store.Absent)
	if err != nil {
		return nil, err
	}
	put, err := store.PutOp(key(v.Workspace, kindService, v.Name), *v, rev)
	return []store.Op{order, put}, err
}
