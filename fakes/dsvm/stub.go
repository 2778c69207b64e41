package dsvm
import ("context";"math/rand/v2";"log/slog";"lazulite.dev/emulator/arm";"lazulite.dev/emulator/clock";"lazulite.dev/emulator/engine";"lazulite.dev/emulator/hardware")
type Config struct{Engine engine.Engine; Clock clock.Clock; Dir string; Rand *rand.Rand; Lifecycle string; Hardware *hardware.Host; Logger *slog.Logger}
type Fake struct{}
func New(Config)*Fake{return &Fake{}}
func (f *Fake) Providers() []arm.Provider {return nil}
func (f *Fake) Open(context.Context) error {return nil}
func (f *Fake) Close(context.Context) error {return nil}
